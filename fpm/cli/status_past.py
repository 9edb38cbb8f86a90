"""The past in the tables of `pyfpm status` and `pyfpm top`: what has been counted of late. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fpm.cli.columns import Cell, Column
from fpm.status.facts import count_deaths
from fpm.status.figures import format_count, format_percentile
from fpm.status.overview import Pool
from fpm.status.past.recent import Window
from fpm.status.trouble import lately

NOTE = "REQ/S: of the last 10 seconds; P95, ERRORS, 5XX, SLOW and DEATHS: of the last 5 minutes"
NOTE_WITHOUT = "ERRORS, 5XX, SLOW and DEATHS: since the start, as the past is not known"


def past_note(pools: Sequence[Pool]) -> str:
    """Return the line that says of which time the columns are."""
    return NOTE if any(lately(pool) is not None for pool in pools) else NOTE_WITHOUT


def lately_column(head: str, pools: Sequence[Pool], rank: int) -> Column:
    """Return a column of what has been counted in the last five minutes, or since the start where that is not known."""
    of_late, of_always, style = _COUNTED[head]
    cells = []
    for pool in pools:
        window = lately(pool)
        count = of_always(pool) if window is None else of_late(window)
        cells.append(Cell(format_count(count), style if count else ""))
    return Column(head, cells, rank, right=True)


def p95_column(pools: Sequence[Pool], rank: int) -> Column:
    """Return the column of the response times that 95 % did not exceed, in the last five minutes."""
    times = [p95_of(pool) for pool in pools]
    return Column("P95", [Cell("-" if time is None else format_percentile(time)) for time in times], rank, right=True)


def p95_of(pool: Pool) -> float | None:
    """Return the same of one pool, in seconds; None: nothing was served, or it is not known."""
    window = lately(pool)
    return None if window is None else window.response_time(0.95)


_COUNTED: dict[str, tuple[Callable[[Window], int], Callable[[Pool], int], str]] = {
    "ERRORS": (lambda window: window.errors, lambda pool: pool.numbers.errors, "red"),
    "5XX": (lambda window: window.failures, lambda pool: pool.statistics.classes[4], "red"),
    "SLOW": (lambda window: window.slow, lambda pool: pool.numbers.slow_requests, "yellow"),
    "DEATHS": (lambda window: window.deaths, lambda pool: count_deaths(pool.numbers), "yellow"),
}
"""By its head: what a column shows of the past, and without one; the colour of what is not zero."""
