"""What one snapshot says of a pool, as far as its past is drawn from it. Pure."""

from __future__ import annotations

from dataclasses import replace

from fpm.frozen import dataclass
from fpm.scoreboard.buckets import percentile
from fpm.scoreboard.statistics import Statistics
from fpm.status.facts import count_deaths
from fpm.status.overview import Daemon, Pool
from fpm.status.past.counts import pack_counts
from fpm.status.past.points import P95, Row
from fpm.status.trouble import is_saturated

DELTA_MAX = 2**26
"""The most that is believed of a number between two samples."""
STATISTICS_MAX = 2**44
"""The same of durations in microseconds, and of what is counted in histograms: merged points hold the exact sum."""
SAME_START = 1.5
"""Seconds: the start of a pool is told in whole ones."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What only grows while a pool is there."""

    requests: int = 0
    errors: int = 0
    slow: int = 0
    deaths: int = 0
    statistics: Statistics = Statistics()


@dataclass(frozen=True, slots=True)
class Landmarks:
    """What marks on the axis of time are found by."""

    started: float = 0.0
    """The daemon."""
    executed: float = 0.0
    """Its program, which an upgrade replaces; 0.0: not known."""
    version: str = ""
    generation: int = 0
    last_reload: float = 0.0
    reload_error: str = ""
    """Of the last reload, if it has failed."""
    last_death: float = 0.0
    death_status: int = 0
    """Wait status."""
    failed_since: float = 0.0
    """0.0: it has not failed."""
    error: str = ""
    directory: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """A pool at one moment."""

    at: float
    """Epoch seconds."""
    start: float
    """When the pool began."""
    idle: int
    active: int
    queue: int
    is_saturated: bool
    counted: Counted
    landmarks: Landmarks


def take_sample(pool: Pool, daemon: Daemon) -> Sample:
    """Take what a snapshot says."""
    numbers = pool.numbers
    counted = Counted(numbers.requests, numbers.errors, numbers.slow_requests, count_deaths(numbers), pool.statistics)
    reload_error = ""
    if numbers.last_reload_failed:
        reload_error = (daemon.last_reload.reason if daemon.last_reload is not None else "") or "failed"
    landmarks = Landmarks(
        started=daemon.started,
        executed=daemon.executed,
        version=daemon.version,
        generation=numbers.generation,
        last_reload=numbers.last_reload,
        reload_error=reload_error,
        last_death=numbers.last_death,
        death_status=numbers.last_death_status,
        failed_since=(numbers.failed_since or daemon.now) if numbers.failed else 0.0,
        error=pool.error,
        directory=pool.directory,
    )
    busy = (numbers.idle, numbers.active, numbers.listen_queue, is_saturated(numbers))
    return Sample(daemon.now, numbers.start_time, *busy, counted, landmarks)


def is_same_count(former: Sample, now: Sample) -> bool:
    """Return whether the numbers of `now` go on from those of `former`, and have not begun anew."""
    return abs(former.start - now.start) <= SAME_START and now.counted.requests >= former.counted.requests


def beginning(sample: Sample, after: float) -> Sample:
    """Return the beginning of the pool, when nothing had been counted; not before `after` (epoch seconds)."""
    return replace(sample, at=max(sample.start, after), counted=Counted())


def difference(former: Sample, now: Sample) -> tuple[Row, bytes]:
    """Return the point between two samples with the same count, of which `now` is later, and its counts."""
    before, after = former.counted, now.counted
    pairs = (
        (before.requests, after.requests),
        (before.errors, after.errors),
        (before.slow, after.slow),
        (before.deaths, after.deaths),
    )
    counted = Statistics() if after.statistics == before.statistics else after.statistics - before.statistics
    p95 = percentile(counted.response.counts, P95)
    numbers = [min(max(new - old, 0), DELTA_MAX) for old, new in (*pairs, (0, counted.classes[4]))]
    busy = (now.idle, now.active, now.queue)
    row = Row._make([now.at, now.at - former.at, *busy, *numbers, -1.0 if p95 is None else p95])
    return row, pack_counts(counted, STATISTICS_MAX)
