"""A request out of its entries in slow logs: its samples, and how long it has taken as far as a log tells. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from fpm.stacks.text.entry import Entry

SAME_START = 1.5
"""Seconds by which two samples of one request may differ about its beginning: the text form has whole seconds."""
ENDS_MAX = 10_000
ALIKE_MAX = 200
"""Ends of requests of one worker with the same name."""

Key = tuple[str, ...]
"""What tells one stack from another."""


@dataclass(slots=True)
class SampledRequest:
    """One request that may be sampled again."""

    name: str
    """Method and URI."""
    start: float
    """Epoch seconds."""
    seconds: float
    """Its greatest age that is known."""
    is_over: bool = False
    """A log tells of its end."""
    groups: Counter[Key] = field(default_factory=Counter)

    def is_same(self, name: str, start: float) -> bool:
        """Decide whether another entry is of this request, by when it began."""
        return self.name == name and abs(self.start - start) < SAME_START

    def end(self, seconds: float) -> None:
        """Take how long it has taken; one that goes on after its response may end twice."""
        self.seconds, self.is_over = max(self.seconds, seconds), True


class Ends:
    """Ends of requests that have no entry yet: of a log that has been rotated, the newer file may be read first."""

    def __init__(self) -> None:
        self._ends: dict[tuple[str, int, str], list[tuple[float, float]]] = {}
        """Beginning and seconds, by pool, pid, and method and URI."""

    def add(self, entry: Entry) -> None:
        """Keep one."""
        key = (entry.pool, entry.pid, f"{entry.method} {entry.uri}")
        if len(self._ends) < ENDS_MAX or key in self._ends:
            ends = self._ends.setdefault(key, [])
            if len(ends) < ALIKE_MAX:
                ends.append((entry.time - entry.seconds, entry.seconds))

    def look_up(self, pool: str, pid: int, request: SampledRequest) -> None:
        """Tell a request when it has ended, if that is known."""
        for start, seconds in self._ends.get((pool, pid, request.name), ()):
            if request.is_same(request.name, start):
                request.end(seconds)
