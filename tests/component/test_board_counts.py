"""What a huge pool has counted is read over several turns of the master's loop, and nothing is lost meanwhile."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest

from fpm.master.listening.inherited import InheritedFds
from fpm.master.loop.loop import Loop
from fpm.master.pool import shared_resources
from fpm.master.pool.board_counts import SLICE, BoardCounts
from fpm.master.pool.shared_resources import SLOTS_AT_ONCE, PoolResources
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.statistics import read_statistics
from tests.support.waiting import wait_until

HUGE = 3 * SLOTS_AT_ONCE + 100


def fail(error: BaseException) -> None:
    raise error


def count(board: Scoreboard, *slots: int, number: int = 1) -> None:
    """Have workers count responses 1xx, which all come first in a block."""
    for slot in slots:
        with board.statistics(slot) as block:
            (before,) = struct.unpack_from("<Q", block)
            struct.pack_into("<Q", block, 0, before + number)


def counted(block: bytes) -> int:
    return read_statistics(block).classes[0]


class Reads:
    """How many slots' statistics have been read since it was last asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._count = 0
        add_up = Scoreboard._sum

        def counting(board: Scoreboard, first: int, last: int) -> bytes:
            self._count += last - first
            return add_up(board, first, last)

        monkeypatch.setattr(Scoreboard, "_sum", counting)

    def since(self) -> int:
        self._count, count = 0, self._count
        return count


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    monkeypatch.setattr(shared_resources, "PAUSE", 0.0)
    monkeypatch.setattr(shared_resources, "REST", 0.0)
    return Reads(monkeypatch)


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop(fail)
    yield made
    made.close()


@pytest.fixture
def resources(loop: Loop) -> Iterator[PoolResources]:
    made = PoolResources(loop, lambda shared: None)
    yield made
    made.close()


def turn(loop: Loop, resources: PoolResources, reads: Reads) -> bool:
    """Let the loop turn once; returns whether all is counted."""
    loop.run_once()
    assert reads.since() <= SLOTS_AT_ONCE + SLICE
    return not resources.is_counting


def test_what_is_read_in_slices_is_the_sum() -> None:
    board = Scoreboard.create(HUGE)
    counts = BoardCounts(board)
    assert (counts.go_on(SLOTS_AT_ONCE), counts.sum()) == (0, b""), "what nobody has written to is not read"
    count(board, 0, 1, 63, 64, 700, HUGE - 1)
    assert counts.go_on(SLICE) == SLICE
    assert (counted(counts.sum()), counts.is_complete) == (3, False)
    while not counts.is_complete:
        assert counts.go_on(SLICE) <= SLICE
    assert counts.sum() == board.sum_statistics()
    count(board, *range(HUGE))
    assert counted(counts.sum()) == 6
    counts.begin()
    counts.go_on(HUGE)
    assert counts.sum() == board.sum_statistics()
    board.close()


def test_a_usual_pool_is_known_at_once(resources: PoolResources, reads: Reads) -> None:
    board = resources.for_current(SLOTS_AT_ONCE).board
    for number in (1, 2, 3):
        count(board, *range(SLOTS_AT_ONCE))
        assert counted(resources.count_all()) == number * SLOTS_AT_ONCE
        assert reads.since() == SLOTS_AT_ONCE
        assert not resources.is_counting


def test_a_huge_pool_is_read_turn_by_turn(loop: Loop, resources: PoolResources, reads: Reads) -> None:
    board = resources.for_current(HUGE).board
    for number in (1, 2):
        count(board, *range(HUGE))
        for _ in range(3):  # whoever looks meanwhile, and however often
            known = counted(resources.count_all())
            assert (number - 1) * HUGE <= known < number * HUGE
        assert reads.since() <= SLOTS_AT_ONCE
        wait_until(lambda: turn(loop, resources, reads))
        assert counted(resources.count_all()) == number * HUGE
        assert reads.since() <= SLOTS_AT_ONCE
        wait_until(lambda: turn(loop, resources, reads))


def test_a_huge_pool_is_read_while_nobody_looks(loop: Loop, resources: PoolResources, reads: Reads) -> None:
    """Who looks once, after hours, is told no numbers of hours ago."""
    board = resources.for_current(HUGE).board
    count(board, *range(HUGE))
    resources.count_all()
    reads.since()
    wait_until(lambda: turn(loop, resources, reads))
    count(board, *range(HUGE))
    assert turn(loop, resources, reads) is False
    wait_until(lambda: turn(loop, resources, reads))
    assert counted(resources.count_all()) == 2 * HUGE


def test_nothing_is_lost_of_a_huge_scoreboard_that_is_outgrown(
    loop: Loop, resources: PoolResources, reads: Reads
) -> None:
    former = resources.for_current(HUGE).board
    count(former, *range(HUGE))
    present = resources.for_current(HUGE + 1).board
    resources.count_all()
    count(former, *range(HUGE))  # its last workers, while it is being read
    reads.since()
    for _ in range(3):
        resources.release([present])
    assert reads.since() <= SLOTS_AT_ONCE
    assert len(resources.others) == 1, "it is kept until it has been read"
    wait_until(lambda: turn(loop, resources, reads))
    assert resources.others == []
    assert counted(resources.count_elsewhere()) == counted(resources.count_all()) == 2 * HUGE


def test_an_upgrade_does_not_seem_to_count_anew(loop: Loop, resources: PoolResources) -> None:
    board = resources.for_current(HUGE).board
    count(board, *range(HUGE))
    heir = PoolResources(loop, lambda shared: None)
    heir.restore(resources.dump(Kept()))
    assert counted(heir.count_all()) == HUGE
    heir.close()


class Kept(InheritedFds):
    """Descriptors for the next master, which has its own."""

    def keep(self, fd: int) -> int:
        return os.dup(fd)
