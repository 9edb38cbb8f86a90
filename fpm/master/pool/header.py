"""A pool's scoreboards as the master writes them: what only it knows, for the status pages of the workers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import islice

from fpm.master.loop.loop import NamedTimers
from fpm.master.pool.child import Child
from fpm.master.pool.current_config import CurrentConfig
from fpm.master.pool.history import Record
from fpm.master.pool.shared_resources import PoolResources
from fpm.master.pool.start_failures import StartFailures
from fpm.master.pool.workers import Workers
from fpm.master.services import Services
from fpm.scoreboard.hot_path import HotPath
from fpm.scoreboard.memory import Scoreboard, write_header
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.reading import NOTHING_MERGED, absorb_counts, merge_counts, slot_counts, take_counts

SLOTS_AT_ONCE = 32
"""Slots of former scoreboards that are read anew each time that the header is written."""
FOLLOW_AFTER = 0.2
"""Seconds."""
_FOLLOW = "follow"


class SlotsElsewhere:
    """What workers have counted in their slots of former scoreboards, each as it was last seen.

    A thousand of them may leave one after another, and each time the header is written. What is counted only grows,
    so it is enough to look at a few of those that stay.
    """

    def __init__(self) -> None:
        self._seen: dict[Child, tuple[int, ...]] = {}
        """The one first that was looked at longest ago."""
        self._sums = NOTHING_MERGED

    def look(self, children: Collection[Child], numbers: PoolNumbers, now: float) -> tuple[int, ...]:
        """Look at those that are new, and at SLOTS_AT_ONCE others; return what all have counted (merge_counts)."""
        there = set(children)
        for child in [one for one in self._seen if one not in there]:
            self._sums = take_counts(self._sums, self._seen.pop(child))
        new = [child for child in children if child not in self._seen]
        for child in [*islice(self._seen, SLOTS_AT_ONCE), *new]:
            if (before := self._seen.pop(child, None)) is not None:
                self._sums = take_counts(self._sums, before)
            self._seen[child] = counts = slot_counts(child.slot.read(), numbers, now)
            self._sums = merge_counts([self._sums, counts])
        return self._sums


class PoolHeader:
    """Brings the header of the present scoreboard up to date."""

    def __init__(
        self,
        services: Services,
        record: Record,
        current: CurrentConfig,
        resources: PoolResources,
        failures: StartFailures,
        workers: Workers,
    ) -> None:
        self._services = services
        self._record = record
        self._current = current
        self._resources = resources
        self._failures = failures
        self._workers = workers
        self._timers = NamedTimers(services.loop)
        self._slots = SlotsElsewhere()
        self._elsewhere = b""
        """What the workers have been told that is not on their scoreboard."""

    @property
    def board(self) -> Scoreboard | None:
        """The present scoreboard; None while the pool has never had a process."""
        return self._resources.board

    def boards(self) -> list[Scoreboard]:
        """Every scoreboard that a worker may be on, the present one last."""
        return [one.board for one in self._resources.all()]

    def write(self) -> None:
        """Something has changed that only the master counts."""
        values = self._record.values
        if values.generation != self._current.generation:
            values.generation, values.hot_path = self._current.generation, HotPath.UNKNOWN
        values.hot_path = self._current.hot_paths.of(values.generation, values.hot_path)
        self._record.failing(self._failures.describe(self._services.loop.now, self._services.clock()))
        values.unavailable = self._resources.count_unavailable()
        board = self.board
        if board is None:
            return
        # A reload may have made a larger scoreboard, and some workers still write to the former one.
        elsewhere = [child for child in self._workers.children if child.board is not board]
        counts = self._slots.look(elsewhere, values, self._services.clock())
        write_header(board.view, absorb_counts(replace(values), counts) if elsewhere else values)
        if self._elsewhere:
            board.write_elsewhere(self._elsewhere)

    def take_board(self) -> None:
        """Write to a scoreboard that has become the present one; no number on it may be less than it was."""
        self._resources.count_whole()
        self._elsewhere = self._resources.count_elsewhere()
        self.write()

    def follow_counts(self) -> None:
        """Look soon at what has been counted elsewhere than on the present scoreboard.

        Not at once: a thousand workers of a former generation may leave one after another.
        """
        if _FOLLOW not in self._timers:
            self._timers.set(_FOLLOW, FOLLOW_AFTER, self._follow)

    def _follow(self) -> None:
        elsewhere = self._resources.count_elsewhere()
        if elsewhere != self._elsewhere:
            self._elsewhere = elsewhere
            self.write()
        if self._resources.is_counting:
            self.follow_counts()

    def close(self) -> None:
        """Write no more."""
        self._timers.cancel_all()

    def go_on_from(self, former: PoolHeader) -> None:
        """Go on with what a pool has counted in whose place this one serves; what it still ends is not counted."""
        slots = [child.slot.read() for child in former._workers.children]
        self._record.inherit(former._record, slots, self._services.clock(), self._current.config)
        self._resources.inherit(former._resources)
        self.take_board()

    def reloaded(self, at: float, *, ok: bool) -> None:
        """A reload of the daemon has ended, at this time (epoch seconds)."""
        self._record.reloaded(at, ok=ok)
        self.write()
