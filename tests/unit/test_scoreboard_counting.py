"""How a worker counts its requests: each once, and the wait for a worker only if it can be believed."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.scoreboard.buckets import BOUNDS
from fpm.scoreboard.counting import ABORTED, NONE, USUAL_MAX, RequestCounter, kind_of, read_wait
from fpm.scoreboard.statistics import STATISTICS_SIZE, Statistics, read_statistics
from fpm.worker.accounting import LONG

NOW = 1_700_000_100.5


def count(*requests: tuple[int, int, int, int]) -> Statistics:
    block = memoryview(bytearray(STATISTICS_SIZE))
    counter = RequestCounter(block)
    for request in requests:
        counter.count_response(*request)
    return read_statistics(block)


@pytest.mark.parametrize(
    ("status", "kind"),
    [("200 OK", 1), ("101", 0), ("304 Not Modified", 2), ("404", 3), ("503 x", 4), ("600 Odd", 4), ("099", 4), ("", 4)],
)
def test_a_response_is_counted_in_its_class(status: str, kind: int) -> None:
    assert kind_of(status) == kind


TIMES = st.one_of(st.integers(0, 200_000_000), st.sampled_from([0, *BOUNDS, *[bound + 1 for bound in BOUNDS]]))


@given(st.lists(st.tuples(st.integers(0, ABORTED), TIMES, st.one_of(st.just(NONE), TIMES), TIMES), max_size=20))
def test_each_request_is_counted_once(requests: list[tuple[int, int, int, int]]) -> None:
    found = count(*requests)
    assert sum(found.classes) + found.aborted == len(requests) == found.response.count == found.cpu.count
    assert found.first_byte.count == sum(first != NONE for _, _, first, _ in requests)
    assert found.response.total == sum(duration for _, duration, _, _ in requests)
    assert found.first_byte.total == sum(first for _, _, first, _ in requests if first != NONE)
    assert found.cpu.total == sum(cpu for *_, cpu in requests)


def test_each_time_is_in_its_own_bucket() -> None:
    found = count((1, 2000, 900, 150))
    assert [found.response.counts[13], found.first_byte.counts[10], found.cpu.counts[2]] == [1, 1, 1]
    found = count((1, 500, 500, 500))
    assert found.response == found.first_byte == found.cpu


@given(st.integers(0, USUAL_MAX))
def test_a_usual_response_is_counted_once_for_all(duration: int) -> None:
    block = memoryview(bytearray(STATISTICS_SIZE))
    RequestCounter(block).count_usual(duration)
    assert read_statistics(block) == count((kind_of("200 OK"), duration, duration, duration))


def test_a_short_request_can_be_counted_as_usual() -> None:
    assert LONG == USUAL_MAX


def test_a_scoreboard_without_room_is_counted_nowhere() -> None:
    counter = RequestCounter(memoryview(b""))
    counter.count_response(1, 5, 5, 5)
    counter.count_wait("1700000100", NOW)
    assert read_statistics(counter.block).classes == (0, 1, 0, 0, 0)
    counter.close()


def test_an_application_that_has_written_into_it_ends_no_request() -> None:
    block = memoryview(bytearray(b"\xff" * STATISTICS_SIZE))
    counter = RequestCounter(block)
    counter.count_response(1, 5, 5, 5)
    counter.count_usual(5)
    counter.count_wait("1700000100", NOW)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("1700000100.123", 377_000),
        ("t=1700000100.123", 377_000),
        ("1700000100", 500_000),
        ("1700000100.", 500_000),
        ("1700000100.4999999", 1),
        ("1700000100123", 377_000),
        ("1700000100123.25", 376_750),
        ("t=1700000100123456", 376_544),
        ("1700000100123456.9", 376_544),
        ("1700000100.9", 0),
        ("1699996500.5", 3_600_000_000),
        ("00000001700000100.5", 0),
    ],
)
def test_a_time_that_can_be_true_is_a_wait(text: str, wait: int) -> None:
    assert read_wait(text, NOW) == wait


NO_TIMES = [
    "t=",
    ".5",
    "1700000102",
    "1699996500.4",
    "0",
    "5",
    "-1700000100",
    "+1700000100",
    " 1700000100",
    "1700000100 ",
    "1700000100,5",
    "1700000100.1.2",
    "1700000100.x",
    "1.7e9",
    "t=t=1700000100",
    "T=1700000100",
    "1700000100\xb2",
    "1700000100.\xb2",
    "1700000100123456789",
    "9" * 32,
    "0" * 23 + "1700000100",
    "nan",
]


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time_or_cannot_be_true_is_none(text: str) -> None:
    assert read_wait(text, NOW) == NONE


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_any_text_is_a_wait_or_none(text: str) -> None:
    assert NONE <= read_wait(text, NOW) <= 3_600_000_000


def test_a_wait_is_counted_by_itself() -> None:
    block = memoryview(bytearray(STATISTICS_SIZE))
    counter = RequestCounter(block)
    for text in ("1700000100.4", *NO_TIMES):
        counter.count_wait(text, NOW)
    found = read_statistics(block)
    assert (found.queue_wait.total, found.queue_wait.count) == (100_000, 1)
    assert struct.unpack_from("<6Q", block) == (0,) * 6
