"""What the master counts of a request in which its worker has ended, whatever that has written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fpm.master.pool.worker_slot import WorkerSlot
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.route_copy import Sums
from fpm.scoreboard.route_table import ROUTES_SIZE
from fpm.scoreboard.statistics import STATISTICS_SIZE, read_statistics
from fpm.scoreboard.writer import SlotWriter

FAILED, CUT = ((0, 0, 0, 0, 1), 0), ((0, 0, 0, 0, 0), 1)


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    made = Scoreboard.create(3)
    yield made
    made.close()


def write(board: Scoreboard, began: float, sent: float) -> WorkerSlot:
    """A slot with a request that began and was answered at these times; the worker is gone."""
    writer = SlotWriter(board, 1, pid=77, started=5.0, script="app:app")
    writer.begin(50.0, "GET", "/orders/17", "", 0, "", began)
    writer.mark_sent(sent)
    writer.close()
    return WorkerSlot(board, 1)


def routes(board: Scoreboard) -> list[tuple[bytes, tuple[int, ...]]]:
    sums = Sums()
    sums.add(b"".join(board.copy_routes(1 << 20)))
    return [(one.text, one.numbers) for one in sums.read() if one.numbers[0]]


@pytest.mark.parametrize(
    ("began", "sent", "seconds", "kind", "duration", "first_byte"),
    [
        (17.0, 0.0, 30.0, FAILED, 30_000_000, 0),
        (17.0, 16.9, 30.0, FAILED, 30_000_000, 0),
        (17.0, 17.5, 30.0, CUT, 30_000_000, 500_000),
        (17.0, 1e12, 2.0, CUT, 2_000_000, 2_000_000),
        (float("nan"), 5.0, 2.0, FAILED, 2_000_000, 0),
        (17.0, float("inf"), 2.0, FAILED, 2_000_000, 0),
    ],
)
def test_a_request_is_counted_by_what_was_sent_of_its_response(
    board: Scoreboard,
    began: float,
    sent: float,
    seconds: float,
    kind: tuple[tuple[int, ...], int],
    duration: int,
    first_byte: int,
) -> None:
    slot = write(board, began, sent)
    slot.count_lost(slot.read(), seconds, by_route=True)
    found = read_statistics(board.sum_statistics())
    assert (found.classes, found.aborted) == kind
    assert (found.response.total, found.response.count, found.first_byte.total) == (duration, 1, first_byte)
    assert found.cpu.count == 0, "nobody knows"
    assert routes(board) == [(b"/orders/<n>", (1, 1, duration, 0, 0))]


def test_it_is_in_no_route_if_requests_are_not_counted_by_them(board: Scoreboard) -> None:
    slot = write(board, 17.0, 0.0)
    slot.count_lost(slot.read(), 1.0, by_route=False)
    assert routes(board) == []


def test_what_a_worker_has_left_behind_cannot_stop_the_master(board: Scoreboard) -> None:
    slot = write(board, 17.0, 0.0)
    with board.statistics(1) as block, board.routes(1) as table:
        block[:], table[:] = b"\xff" * STATISTICS_SIZE, b"\xff" * ROUTES_SIZE
    slot.count_lost(slot.read(), 1.0, by_route=True)
    assert routes(board) == [(b"/orders/<n>", (1, 1, 1_000_000, 0, 0))], "a table that is not sound begins anew"


def test_the_next_worker_counts_on(board: Scoreboard) -> None:
    for number in (1, 2, 3):
        slot = write(board, 17.0, 0.0)
        slot.count_lost(slot.read(), 1.0, by_route=True)
        assert read_statistics(board.sum_statistics()).classes[4] == number
