"""The second half of a reload: the new generations serve, and the workers of the former ones are replaced."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from fpm.events.pool import SwapStalled
from fpm.master.core import Core
from fpm.master.loop.loop import NamedTimers

PATIENCE = 60.0
"""Seconds without any swap after which a reload ends all the same: the next one may be what mends it."""


class SwappingPool(Protocol):
    """A pool, as far as its swap concerns others."""

    @property
    def unswapped(self) -> int:
        """Workers of former generations that still wait for a new one to take their place."""

    @property
    def is_swapping(self) -> bool:
        """May a former generation, or the 503 responder, still take a request?"""


class Swap:
    """Follows the swaps of all pools, each time that one of them has changed."""

    def __init__(
        self,
        core: Core,
        find: Callable[[str], SwappingPool | None],
        total: int,
        report: Callable[[dict[str, Any]], None],
        finish: Callable[[], None],
    ) -> None:
        """
        Args:
            find: a pool by its name; None if it is not there any more.
            total: workers that are to be swapped.
            report: told how far it has come.
            finish: told once, never within a call, that nothing is left to wait for.
        """
        self._emit = core.emit
        self._find = find
        self._total = total
        self._report = report
        self._finish = finish
        self._left: dict[str, int] = {}
        """Workers that wait to be swapped, of the pools that are still swapping."""
        self._timers = NamedTimers(core.loop)

    def start(self, names: Collection[str]) -> None:
        """Begin with all pools."""
        for name in names:
            self._look_at(name)
        self._say()
        self._timers.set("patience", PATIENCE, self._give_up)
        self._end_if_done()

    def pool_changed(self, name: str) -> None:
        """Look at a pool again: one of its workers serves, or one of its processes has gone."""
        if name not in self._left:
            return
        before = sum(self._left.values())
        self._look_at(name)
        if sum(self._left.values()) != before:
            self._say()
            self._timers.set("patience", PATIENCE, self._give_up)
        self._end_if_done()

    def close(self) -> None:
        """Follow them no more."""
        self._timers.cancel_all()

    def _look_at(self, name: str) -> None:
        pool = self._find(name)
        if pool is not None and pool.is_swapping:
            self._left[name] = pool.unswapped
        else:
            self._left.pop(name, None)

    def _say(self) -> None:
        if self._total:
            self._report({"swapped": self._total - sum(self._left.values()), "of": self._total})

    def _end_if_done(self) -> None:
        if not self._left:
            # What follows may begin another reload, and this is called while a pool is busy with itself.
            self._timers.set("end", 0.0, self._end)

    def _give_up(self) -> None:
        for name in self._left:
            self._emit(SwapStalled(pool=name))
        self._end()

    def _end(self) -> None:
        self.close()
        self._finish()
