"""One slot of a scoreboard, as the master holds it for the worker, or the request, that writes there."""

from __future__ import annotations

from dataclasses import dataclass

from fpm.scoreboard.counting import count_lost
from fpm.scoreboard.memory import (
    Scoreboard,
    clear_slot,
    is_interrupt_wanted,
    mark_creating,
    retire_slot,
    want_interrupt,
)
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.reading import READ_TRIES, copy_slot, try_clocks, try_slot
from fpm.scoreboard.route_table import RouteTable
from fpm.scoreboard.snapshot import Clocks, Slot
from fpm.scoreboard.stages import Stage

_STAGES = [Stage(byte) if byte in Stage.__members__.values() else Stage.FREE for byte in range(256)]
"""By what stands there, which may be anything."""


@dataclass(slots=True)
class WorkerSlot:
    """A scoreboard and the number of a slot in it. What is read there is its writer's word."""

    board: Scoreboard
    number: int
    tries: int = READ_TRIES
    """How often it is tried to read it whole: once if it could not be the last time, for who writes without end."""

    @property
    def stage(self) -> Stage:
        """What is done there."""
        return _STAGES[self.board.stages[self.number]]

    def read(self) -> Slot:
        """Read everything."""
        slot, is_stable = try_slot(self.board.view, self.board.slots, self.number, tries=self.tries)
        self.tries = READ_TRIES if is_stable else 1
        return slot

    def read_clocks(self) -> Clocks:
        """Read what limits are measured by."""
        clocks, is_stable = try_clocks(self.board.view, self.board.slots, self.number, self.tries)
        self.tries = READ_TRIES if is_stable else 1
        return clocks

    def copy(self) -> tuple[int, bytes]:
        """Copy its stage and what stands there, for fpm.scoreboard.reading.join_board."""
        stage, copy, is_stable = copy_slot(self.board.view, self.board.slots, self.number, self.tries)
        self.tries = READ_TRIES if is_stable else 1
        return stage, copy

    def mark_creating(self) -> None:
        """Say that a worker for it has been asked for."""
        mark_creating(self.board.view, self.board.slots, self.number)

    def clear(self) -> None:
        """Empty it, for nobody has written there."""
        clear_slot(self.board.view, self.board.slots, self.number)

    def count_lost(self, slot: Slot, seconds: float, *, by_route: bool) -> None:
        """Count the request that its writer has ended in, in its place.

        Args:
            slot: what stands there.
            seconds: that the request has taken.
            by_route: as a failed one of its route, too; of its CPU time and memory nothing is known.
        """
        with self.board.statistics(self.number) as block:
            count_lost(block, seconds, slot.sent - slot.began if slot.has_answered else None)
        with self.board.routes(self.number) as table:
            if by_route and len(table):
                routes = RouteTable(table, 0)
                routes.count(slot.uri, int(seconds * 1e6), 0, failed=True, peak=0)
                routes.close()

    def retire(self, values: PoolNumbers, now: float) -> Slot:
        """Add what its writer has counted to the pool's numbers, and empty it.

        Args:
            now: epoch seconds.
        """
        return retire_slot(self.board.view, self.board.slots, self.number, values, now)

    def want_interrupt(self, request: int) -> None:
        """Let the next signal raise fpm.RequestTimeout, if this request still runs then."""
        want_interrupt(self.board.view, self.board.slots, self.number, request)

    def is_interrupt_wanted(self, request: int) -> bool:
        """Is the exception for this request still to be raised?"""
        return is_interrupt_wanted(self.board.view, self.board.slots, self.number, request)
