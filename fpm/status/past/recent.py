"""A pool's past as values: what has been counted of late, points over time, and what has happened meanwhile. Pure."""

from __future__ import annotations

from enum import StrEnum

from fpm.frozen import dataclass
from fpm.scoreboard.buckets import percentile
from fpm.scoreboard.statistics import Statistics

WINDOWS = (60, 300, 3600)
"""Seconds over which percentiles are told."""


@dataclass(frozen=True, slots=True)
class Window:
    """What has been counted in the last so many seconds."""

    seconds: int
    """One of WINDOWS."""
    covered: float
    """Seconds for which it is really known: less after a start."""
    statistics: Statistics
    requests: int
    errors: int
    """Uncaught exceptions."""
    slow: int
    deaths: int

    @property
    def rate(self) -> float:
        """Return requests a second."""
        return self.requests / self.covered if self.covered > 0 else 0.0

    @property
    def failures(self) -> int:
        """Return the responses of class 5xx."""
        return self.statistics.classes[4]

    def response_time(self, part: float) -> float | None:
        """Return the seconds that `part` of the responses did not exceed, as 0.95; None if there were none."""
        return percentile(self.statistics.response.counts, part)


@dataclass(frozen=True, slots=True)
class Recent:
    """What there is to say of a pool's last hour."""

    rate: float | None
    """Requests a second over the last ten seconds; None: not known yet."""
    windows: tuple[Window, ...]
    """One for each of WINDOWS, in this order."""
    saturated_since: float | None = None
    """Epoch seconds: since when all workers have been busy while connections waited; None: it is not so."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One point of a pool's history."""

    at: float
    """When the time that it covers ended, epoch seconds."""
    idle: int
    active: int
    """Of several samples the most."""
    queue: int
    """The same."""
    rate: float
    """Requests a second since the point before."""
    span: float = 0.0
    """Seconds that it covers. Where the point before is older than that, nothing is known of the time between."""
    failures: float = 0.0
    """Responses of class 5xx a second."""
    p95: float | None = None
    """Seconds; None without responses."""


class MarkKind(StrEnum):
    """What a mark on the axis of time tells of."""

    START = "start"
    """The daemon has begun."""
    DEPLOY = "deploy"
    """A new generation serves."""
    RELOAD_FAILED = "reload failed"
    UPGRADE = "upgrade"
    DEATH = "death"
    FAILED = "failed"
    """The pool does not start."""
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that has happened to a pool."""

    at: float
    """Epoch seconds."""
    kind: MarkKind
    text: str = ""
    """More about it: a reason, a cause of death, a directory."""
