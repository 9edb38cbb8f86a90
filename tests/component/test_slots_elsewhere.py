"""A pool that has outgrown its scoreboard: what former workers count is shown, and few are read each time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fpm.master.pool.header import SLOTS_AT_ONCE, SlotsElsewhere
from fpm.master.pool.worker_slot import WorkerSlot
from fpm.scoreboard.layout import REQUEST, REQUEST_OFFSET, slot_offset
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.reading import absorb, absorb_counts
from fpm.scoreboard.snapshot import Slot

WORKERS = 10 * SLOTS_AT_ONCE


@dataclass(eq=False)
class FormerWorker:
    """As far as it is looked at; it notes each reading."""

    own: WorkerSlot
    readings: list[int]

    @property
    def slot(self) -> FormerWorker:
        return self

    def read(self) -> Slot:
        self.readings.append(self.own.number)
        return self.own.read()

    def serve(self, count: int) -> None:
        at = slot_offset(self.own.board.slots, self.own.number) + REQUEST_OFFSET
        (before, *_) = REQUEST.unpack_from(self.own.board.view, at)
        REQUEST.pack_into(self.own.board.view, at, before + count, 0.0, 0)


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    made = Scoreboard.create(WORKERS)
    yield made
    made.close()


def test_a_few_are_read_at_each_death(board: Scoreboard) -> None:
    readings: list[int] = []
    workers: list[Any] = [FormerWorker(WorkerSlot(board, number), readings) for number in range(WORKERS)]
    elsewhere, pool, shown = SlotsElsewhere(), PoolNumbers(), 0
    for worker in workers:
        worker.serve(5)
    while workers:
        counts = elsewhere.look(workers, pool, 0.0)
        requests = absorb_counts(replace(pool), counts).requests
        assert requests >= shown, "no number is less than it was"
        if not shown:
            assert (requests, len(readings)) == (5 * WORKERS, WORKERS), "all that were counted before are there at once"
        else:
            assert len(readings) <= SLOTS_AT_ONCE
        shown = requests
        readings.clear()
        for worker in workers[::7]:
            worker.serve(1)
        absorb(pool, [workers.pop().own.read()], 0.0)
    elsewhere.look([], pool, 0.0)
    assert absorb_counts(replace(pool), elsewhere.look([], pool, 0.0)) == pool
    assert readings == []


def test_all_are_read_in_their_turn(board: Scoreboard) -> None:
    workers: list[Any] = [FormerWorker(WorkerSlot(board, number), []) for number in range(WORKERS)]
    elsewhere, pool = SlotsElsewhere(), PoolNumbers()
    elsewhere.look(workers, pool, 0.0)
    for worker in workers:
        worker.serve(3)
    for _ in range(WORKERS // SLOTS_AT_ONCE):
        counts = elsewhere.look(workers, pool, 0.0)
    assert absorb_counts(replace(pool), counts).requests == 3 * WORKERS
