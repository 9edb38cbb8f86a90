"""Looks at processes that may wait, as those of `pyfpm explain`: a look stops a process for a moment.

Of each pool at most one is begun in the time that who asks wants to lie between two, whoever else asks. Who wants to
see a process that has been looked at meanwhile, in the same request, gets that look. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

KEPT = 64
"""Looks of one pool that may be shared."""


@dataclass(slots=True, eq=False)
class Look(Generic[T]):
    """One look at one process."""

    what: Hashable
    """The process, its request, and how much of it is looked at."""
    began: float
    """Monotonic seconds."""
    seen: T | None = None
    """None while it is under way."""
    waiting: list[Callable[[T], object]] = field(default_factory=list)

    def finish(self, seen: T) -> None:
        """Tell all who wait."""
        self.seen, waiting, self.waiting = seen, self.waiting, []
        for done in waiting:
            done(seen)


class PacedLooks(Generic[T]):
    """The last looks at the processes of all pools. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._last: dict[str, list[Look[T]]] = {}

    def find(self, pool: str, what: Hashable, now: float, pace: float) -> Look[T] | None:
        """Find a look that is under way, or that is younger than `pace`."""
        fresh = (one for one in self._last.get(pool, ()) if one.seen is None or now - one.began < pace)
        return next((one for one in fresh if one.what == what), None)

    def pause(self, pool: str, now: float, pace: float) -> float:
        """Return after how many seconds another process of this pool may be looked at."""
        last = self._last.get(pool)
        return max(last[-1].began + pace - now, 0.0) if last else 0.0

    def begin(self, pool: str, what: Hashable, now: float) -> Look[T]:
        """Note that a look begins."""
        look: Look[T] = Look(what, now)
        self._last[pool] = [*self._last.get(pool, ()), look][-KEPT:]
        return look
