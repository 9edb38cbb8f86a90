"""How long responses take, and how they end: the tables on a pool's page. Pure."""

from __future__ import annotations

from typing import Any

from fpm.frozen import dataclass
from fpm.scoreboard.buckets import Histogram, percentile
from fpm.scoreboard.statistics import Statistics
from fpm.status.facts import count_deaths
from fpm.status.figures import format_age
from fpm.status.overview import Pool
from fpm.status.past.recent import Window

PARTS = (0.5, 0.95, 0.99)
SHORT = 0.98
"""Of a window that is known to a smaller part than this the page says how much is known."""


@dataclass(frozen=True, slots=True)
class Period:
    """What has been counted over some time."""

    words: str
    """As in "1 min": the last one."""
    known: str
    """"5 s": of no more than that; "" where it is complete."""
    requests: int
    rate: float | None
    response: tuple[float | None, ...]
    """Seconds, for each of PARTS."""
    first_byte: float | None
    """Seconds that 95 % did not exceed, as are the next two."""
    queue_wait: float | None
    cpu: float | None
    classes: tuple[int, ...]
    """1xx to 5xx."""
    errors: int
    aborted: int
    slow: int
    deaths: int


def make_periods(pool: Pool) -> list[Period]:
    """Describe each window of the recent past, and all time since the start; none if nothing has been counted."""
    periods = [] if pool.recent is None else [_of_window(window) for window in pool.recent.windows]
    if pool.statistics.count:
        periods.append(_of_all_time(pool))
    return periods


def _of_window(window: Window) -> Period:
    is_short = window.covered < window.seconds * SHORT
    return Period(
        words=format_age(window.seconds),
        known=format_age(window.covered) if is_short else "",
        requests=window.requests,
        rate=window.rate,
        errors=window.errors,
        slow=window.slow,
        deaths=window.deaths,
        **_counted(window.statistics),
    )


def _of_all_time(pool: Pool) -> Period:
    numbers = pool.numbers
    return Period(
        words="since the start",
        known="",
        requests=numbers.requests,
        rate=None,
        errors=numbers.errors,
        slow=numbers.slow_requests,
        deaths=count_deaths(numbers),
        **_counted(pool.statistics),
    )


def _counted(statistics: Statistics) -> dict[str, Any]:
    return {
        "response": tuple([percentile(statistics.response.counts, part) for part in PARTS]),
        "first_byte": _p95(statistics.first_byte),
        "queue_wait": _p95(statistics.queue_wait),
        "cpu": _p95(statistics.cpu),
        "classes": statistics.classes,
        "aborted": statistics.aborted,
    }


def _p95(histogram: Histogram) -> float | None:
    return percentile(histogram.counts, 0.95)
