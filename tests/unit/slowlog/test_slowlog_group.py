"""Entries with the same stack counted, and what of them is shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.cli.slow import parse_since
from fpm.cli.slow_rows import group_lines, group_object
from fpm.stacks.text import group as grouping
from fpm.stacks.text.entry import Entry
from fpm.stacks.text.group import (
    OTHER,
    Gap,
    Group,
    Grouping,
    library_of,
    ordered,
    relevant_frames,
    short_file,
)
from fpm.stacks.text.uri import uri_pattern
from fpm.stacks.trace import Frame, ThreadStack, Trace
from tests.unit.slowlog.entries import CHOOSE, NOON, QUERY, entries, make

SITE = "/srv/shop/venv/lib/python3.11/site-packages/"


def group(*written: Entry) -> list[Group]:
    counted = Grouping()
    for entry in written:
        counted.add(entry)
    return counted.finish()


def test_the_same_stack_is_one_group() -> None:
    (one,) = group(
        make(QUERY, CHOOSE, pid=1, seconds=2.0, uri="/user/7?a=b", time=NOON + 5),
        make(replace(QUERY, line=41), CHOOSE, pid=2, seconds=7.0, uri="/user/8?c", time=NOON, reason="terminate"),
        make(QUERY, CHOOSE, pid=1, seconds=3.0, uri="/user/9", pool="shop"),
    )
    assert (one.requests, one.samples, one.total, one.longest, one.ended) == (3, 3, 12.0, 7.0, 1)
    assert one.longest_uri == "GET /user/8?c"
    assert (one.first, one.last) == (NOON, NOON + 5)
    assert one.uris == {"GET /user/{n}?{query}": 2, "GET /user/{n}": 1}
    assert one.pools == {"www": 2, "shop": 1}
    assert one.lines[0] == {40: 2, 41: 1}


def test_other_functions_and_files_are_other_groups() -> None:
    others = (replace(QUERY, function="Other.query"), replace(QUERY, file="/srv/other.py"), CHOOSE)
    assert len(group(make(QUERY), *(make(other) for other in others), make(QUERY, CHOOSE))) == 5


def test_recursion_and_the_workers_own_frames_do_not_tell_stacks_apart() -> None:
    ours = Frame("Service._call", "/opt/pyfpm/lib/python3.11/site-packages/fpm/worker/service.py", 9)
    (one,) = group(make(QUERY, QUERY, QUERY, CHOOSE, ours), make(QUERY, CHOOSE), make(QUERY, CHOOSE, ours, ours))
    assert one.frames == (QUERY, CHOOSE)
    boot, command = Frame("<module>", "<pyfpm boot>", 84), Frame("<module>", "<string>", 1)
    assert group(make(QUERY, ours, boot, command), make(QUERY, ours, boot))[0].frames == (QUERY,)
    assert group(make(QUERY, command))[0].frames == (QUERY, command)
    assert group(make(ours))[0].frames == (ours,)
    assert group(make(ours, boot, command))[0].frames == (ours, boot)


def test_native_frames_without_a_symbol_are_their_library() -> None:
    def native(function: str) -> Frame:
        return Frame(function, "/usr/lib/libpq.so.5", 0, native=True)

    (one,) = group(
        make(native("libpq.so.5+0x1234"), native("libpq.so.5+0x10"), QUERY), make(native("libpq.so.5+0xff"), QUERY)
    )
    assert one.frames == (native("libpq.so.5"), QUERY)


def test_samples_of_a_request_are_one_request_whose_time_is_shared_out() -> None:
    def sample(number: int, frame: Frame, **values: object) -> Entry:
        entry = make(frame, sample=number, seconds=2.0 + number, time=float(int(NOON + number + 0.7)))
        return replace(entry, **values)

    written = [sample(1, QUERY), sample(2, CHOOSE), sample(3, QUERY), sample(4, QUERY, reason="terminate")]
    query, choose = group(*written)
    assert (query.requests, query.samples, query.total, query.longest, query.ended) == (1, 3, 4.5, 6.0, 1)
    assert (choose.requests, choose.samples, choose.total, choose.longest) == (1, 1, 1.5, 4.0)
    assert query.uris == choose.uris == {"GET /user/{n}": 1}
    counted = Grouping()
    for entry in [*written, sample(1, QUERY), sample(2, QUERY, uri="/user/8"), sample(2, QUERY, pid=9)]:
        counted.add(entry)
    assert (counted.entries, counted.requests) == (7, 4)
    assert sum(one.total for one in counted.finish()) == 6.0 + 3.0 + 4.0 + 4.0


def test_entries_without_a_stack_are_grouped_by_the_reason() -> None:
    one, two = group(
        *(make(trace=Trace(pid, "", error=f"process {pid} has gone")) for pid in (1, 2)),
        make(trace=Trace(1, "", error="no permission")),
    )
    assert (one.requests, two.requests, one.frames) == (2, 1, ())
    assert any("no stack: process 1 has gone" in cell.text for cell in group_lines(1, one))


def test_other_threads_count_for_nothing() -> None:
    trace = Trace(1, "ptrace", (ThreadStack(2, False, (CHOOSE,)), ThreadStack(1, True, (QUERY,), "in recv(3 <x>)")))
    (one,) = group(make(trace=trace))
    assert one.frames == (QUERY,)
    assert one.doing == {"in recv": 1}


def test_orders() -> None:
    a = make(replace(QUERY, function="a"), seconds=9.0)
    bs = [make(replace(QUERY, function="b"), seconds=3.0, pid=pid) for pid in range(4)]
    cs = [make(replace(QUERY, function="c"), seconds=1.0, pid=pid) for pid in range(5)]
    groups = group(a, *bs, *cs)

    def names(by: str) -> str:
        return "".join(one.frames[0].function for one in ordered(groups, by))

    assert (names("total"), names("count"), names("longest")) == ("bac", "cba", "abc")


def test_memory_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GROUPS_MAX", "NAMES_MAX", "OPEN_MAX"):
        monkeypatch.setattr(grouping, name, 5)
    counted = Grouping()
    for number in range(50):
        counted.add(make(replace(QUERY, function=f"f{number}"), pid=number))
        counted.add(make(replace(QUERY, line=number), uri=f"/{'x' * number}"))
    groups = counted.finish()
    assert len(groups) <= 6
    assert sum(one.requests for one in groups) == counted.requests == 100
    assert sum(one.total for one in groups) == pytest.approx(525.0)
    query = next(one for one in groups if one.frames == (QUERY,) or one.frames[:1] == (replace(QUERY, line=0),))
    assert len(query.uris) == len(query.lines[0]) == 6
    assert query.uris[OTHER] == 45


@given(st.lists(entries(), max_size=6))
def test_any_entries_can_be_grouped_and_shown(written: list[Entry]) -> None:
    groups = group(*written)
    assert sum(one.samples for one in groups) == len(written)
    for number, one in enumerate(groups):
        assert group_object(one)["count"] >= 1
        assert all("\n" not in cell.text and "\x1b" not in cell.text for cell in group_lines(number, one))


@pytest.mark.parametrize(
    ("uri", "pattern"),
    [
        ("/user/17/edit", "/user/{n}/edit"),
        ("/user/17/edit?tab=2&x", "/user/{n}/edit?{query}"),
        ("/v2/items/3-4.json", "/v2/items/{n}-{n}.json"),
        ("/o/9f3c2a1b7d/x", "/o/{hex}/x"),
        ("/o/deadbeef/12345678", "/o/deadbeef/{n}"),
        ("/u/123e4567-E89B-12d3-a456-426614174000", "/u/{uuid}"),
        ("/a%20b/h1/2024", "/a%20b/h1/{n}"),
        ("", ""),
        ("/" + "x" * 300, "/" + "x" * 196 + "..."),
    ],
)
def test_patterns(uri: str, pattern: str) -> None:
    assert uri_pattern(uri) == pattern


def test_frames_that_tell() -> None:
    lock = Frame("acquire", "/usr/lib/python3.11/threading.py", 1)
    http = [Frame("read", "/usr/lib/python3.11/http/client.py", 2), Frame("get", SITE + "requests/api.py", 73)]
    django = [Frame(f"inner{number}", SITE + "django/core/handlers.py", number) for number in range(5)]
    shown = relevant_frames([lock, Frame("x", SITE + "urllib3/pool.py", 5), *http, QUERY, *django])
    assert shown == [lock, Gap(2, ("urllib3", "http")), http[1], QUERY, Gap(5, ("django",))]
    assert relevant_frames([lock, *http]) == [lock, *http]
    assert relevant_frames([]) == []
    ours = Frame("wait", SITE + "fpm/worker/socket_io.py", 155)
    assert relevant_frames([ours, ours, ours]) == [ours, Gap(2, ("fpm",))]
    assert relevant_frames([QUERY, django[0]]) == [QUERY, django[0]]
    assert library_of(Frame("f", "<frozen importlib._bootstrap>", 1)) == "importlib"
    assert library_of(Frame("PQexec", "/usr/lib/libpq.so.5", 0, native=True)) == "libpq"
    assert [short_file(frame) for frame in (lock, *http, QUERY)] == [
        "threading.py",
        "http/client.py",
        "requests/api.py",
        "/srv/shop/db.py",
    ]


def test_lines_that_were_seen() -> None:
    (one,) = group(*(make(replace(QUERY, line=line), pid=line) for line in (1, 1, 1, 2, 2, 3, 4)))
    texts = [cell.text.strip() for cell in group_lines(3, one)]
    assert texts[0] == "3. 7 requests, total 37 s, longest 5.2 s"
    assert texts[-1] == "Shop.query() /srv/shop/db.py:1 (3x), :2 (2x), :3 (1x) and 1 more"
    assert group_object(one)["frames"][0]["lines"] == {"1": 3, "2": 2, "3": 1, "4": 1}


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("90s", "2026-11-21T11:58:30"),
        ("1h", "2026-11-21T11:00"),
        ("2d", "2026-11-19T12:00"),
        ("1w", "2026-11-14T12:00"),
        ("30min", "2026-11-21T11:30"),
        ("today", "2026-11-21T00:00"),
        ("yesterday", "2026-11-20T00:00"),
        ("9:30", "2026-11-21T09:30"),
        ("10:30:15", "2026-11-21T10:30:15"),
        ("2026-11-20", "2026-11-20T00:00"),
        ("2026-11-20 10:00", "2026-11-20T10:00"),
        ("2026-11-20T10:00+02:00", "2026-11-20T10:00+02:00"),
    ],
)
def test_since(text: str, when: str) -> None:
    now = datetime(2026, 11, 21, 12).timestamp()
    assert parse_since(text, now) == datetime.fromisoformat(when).timestamp()


@pytest.mark.parametrize("text", ["", "1y", "soon", "25:00", "2026-13-01", "999999999w1"])
def test_since_that_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="expected 90m, 1h"):
        parse_since(text, NOON)


def end(seconds: float, at: float, **values: object) -> Entry:
    """The end of a request that began `seconds` before `at` seconds after noon."""
    return make(reason="end", time=NOON + at, seconds=seconds, trace=Trace(123, ""), **values)


def test_a_request_counts_with_the_time_that_it_has_really_taken() -> None:
    first, second = make(time=NOON, seconds=5.0), make(time=NOON + 20, seconds=5.0, uri="/user/8")
    (one,) = group(first, end(9.5, 4.5), second)
    assert (one.requests, one.samples, one.unfinished) == (2, 2, 1)
    assert (one.total, one.longest, one.longest_uri) == (14.5, 9.5, "GET /user/7")


def test_the_newer_file_may_be_read_first() -> None:
    (one,) = group(end(9.5, 4.5), make(time=NOON + 100, seconds=5.0, uri="/next"), make(time=NOON, seconds=5.0))
    assert (one.total, one.unfinished) == (14.5, 1)


def test_ends_are_of_their_own_request_only() -> None:
    """Of another pool, process, URI or beginning they say nothing; a pid may be another process's later."""
    others = [end(9.5, 4.5, pool="shop"), end(9.5, 4.5, pid=7), end(9.5, 4.5, uri="/x"), end(9.5, 4000.0)]
    (one,) = group(*others, make(time=NOON, seconds=5.0), *others)
    assert (one.requests, one.total, one.unfinished) == (1, 5.0, 1)


def test_ends_alone_are_no_entries() -> None:
    counted = Grouping()
    counted.add(end(9.5, 4.5))
    assert (counted.entries, counted.requests, counted.finish()) == (0, 0, [])


def test_a_request_that_is_cut_off_after_its_response_has_taken_all_of_that() -> None:
    background = make(time=NOON + 25, seconds=30.0, reason="background")
    (one,) = group(make(time=NOON, seconds=5.0), end(9.5, 4.5), background, end(31.0, 26.0))
    assert (one.requests, one.total, one.unfinished) == (1, 31.0, 0)
