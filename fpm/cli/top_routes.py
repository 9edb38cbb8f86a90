"""What `pyfpm top --by url` shows: what each pattern of path costs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fpm.cli.columns import Cell, Column
from fpm.cli.status_rows import show_text, warn_cell
from fpm.cli.top_figures import Sample
from fpm.frozen import dataclass
from fpm.scoreboard.route_table import BEGINS
from fpm.status.figures import format_count, format_rate, format_size, format_span, is_open
from fpm.status.overview import Pool, Route
from fpm.status.routes import routes_since

OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One route of a pool; None: not known yet."""

    pool: Pool
    route: Route
    rate: float | None
    """Requests a second since the sample before."""
    share: float
    """Part of the time of all requests of its pool, 0 to 1."""

    @property
    def name(self) -> str:
        """The pattern, or a word for all others."""
        return self.route.route or OTHERS


def compare_routes(before: Sample | None, now: Sample, base: Sample | None) -> list[RouteRow]:
    """Make the rows of a sample, with rates since the one before.

    Args:
        base: what was counted until then is left out; None: everything since the start of the daemon.
    """
    seconds = now.at - before.at if before else 0.0
    former, left_out = _routes_of(before), _routes_of(base)
    rows = []
    for pool in now.snapshot.pools:
        counts = {one.route: one.requests for one in former.get(pool.name, ())}
        is_known = seconds > 0 and pool.name in former
        rates = {
            one.route: max(one.requests - counts.get(one.route, 0), 0) / seconds for one in pool.routes if is_known
        }
        routes = routes_since(pool.routes, left_out.get(pool.name, ()))
        total = sum(one.time for one in routes) or 1.0
        rows += [RouteRow(pool, one, rates.get(one.route), one.time / total) for one in routes]
    return rows


def _routes_of(sample: Sample | None) -> dict[str, tuple[Route, ...]]:
    return {pool.name: pool.routes for pool in sample.snapshot.pools} if sample else {}


@dataclass(frozen=True, slots=True)
class RouteKey:
    """A way of sorting; the largest first, but for names."""

    key: str
    """What the user types."""
    name: str
    of_route: Callable[[RouteRow], float | str]


ROUTE_KEYS = (
    RouteKey("l", "time", lambda row: row.route.time),
    RouteKey("r", "requests", lambda row: row.route.requests),
    RouteKey("c", "cpu", lambda row: row.route.cpu),
    RouteKey("p", "p95", lambda row: row.route.p95 or 0.0),
    RouteKey("m", "growth", lambda row: row.route.growth),
    RouteKey("e", "errors", lambda row: row.route.errors),
    RouteKey("n", "name", lambda row: row.name),
)
ROUTE_BY_NAME = {one.name: one for one in ROUTE_KEYS}
ROUTE_BY_KEY = {one.key: one for one in ROUTE_KEYS}


def sort_routes(rows: Sequence[RouteRow], by: RouteKey, *, upside_down: bool = False) -> list[RouteRow]:
    """Return the rows in order; equal ones by their time."""
    ordered = sorted(rows, key=lambda row: -row.route.time)
    return sorted(ordered, key=by.of_route, reverse=(by.name != "name") != upside_down)


def route_columns(rows: Sequence[RouteRow], *, with_pool: bool) -> list[Column]:
    """One route a row."""
    routes = [row.route for row in rows]
    pools = Column("POOL", [Cell(show_text(row.pool.name), "bold") for row in rows], 0, shrinks=True)
    return [
        *([pools] if with_pool else []),
        Column("ROUTE", [Cell(show_text(row.name), "" if row.route.route else "dim") for row in rows], 0, shrinks=True),
        Column("REQ/S", [Cell(format_rate(row.rate)) for row in rows], 7, right=True),
        Column("REQUESTS", [Cell(format_count(one.requests)) for one in routes], 1, right=True),
        Column("ERRORS", [warn_cell(one.errors, "red") for one in routes], 4, right=True),
        Column("TIME", [Cell(format_span(one.time)) for one in routes], 2, right=True),
        Column("TIME%", [Cell(f"{100 * row.share:.0f}") for row in rows], 6, right=True),
        Column("MEAN", [Cell(_duration(one.time / one.requests)) for one in routes], 9, right=True),
        Column("P95", [Cell(_percentile(one.p95)) for one in routes], 3, right=True),
        Column("CPU", [Cell(format_span(one.cpu)) for one in routes], 5, right=True),
        Column("GROWTH", [Cell(format_size(one.growth) if one.growth else "-") for one in routes], 8, right=True),
    ]


def _percentile(seconds: float | None) -> str:
    return "-" if seconds is None else f"{'> ' if is_open(seconds, BEGINS) else ''}{_duration(seconds)}"


def _duration(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms" if seconds < 0.00995 else format_span(seconds)


def route_object(row: RouteRow) -> dict[str, Any]:
    """One route for a program; null: not known (yet); the route of all others is ""."""
    route = row.route
    return {
        "pool": row.pool.name,
        "route": route.route,
        "requests": route.requests,
        "requests_per_second": row.rate,
        "errors": route.errors,
        "seconds": route.time,
        "cpu_seconds": route.cpu,
        "p95_seconds": route.p95,
        "memory_growth": route.growth,
    }
