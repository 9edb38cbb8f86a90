"""The daemon's own HTML pages: all pools at a glance, and one pool with its workers.

For people, unlike PHP-FPM's `?html`: readable on a phone and in the dark, and without JavaScript. The templates escape
whatever they are given; nothing comes from another host, nor from another file. Pure.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from fpm.status.facts import pool_facts
from fpm.status.overview import Daemon, Overview, Pool, PoolPage
from fpm.status.trouble import Trouble
from fpm.status_server.axis import SPANS, Axis, PlacedMark, make_axis, place_marks
from fpm.status_server.chart import SPARK_HEIGHT, Chart, draw_all, draw_workers
from fpm.status_server.environment import POLICY, make_environment
from fpm.status_server.front import Filter, make_front, make_line
from fpm.status_server.latency import make_periods

OVERVIEW_REFRESH = 5
"""Seconds."""
POOL_REFRESH = 2
MANY = 100
"""Pools of whose page the refresh takes its time: a second more for each hundred."""
SPARK_COLUMNS, SPARK_TICK, SPARK_EDGE = 60, 1200, 0.1
SPARKS_MAX = 60
"""Pools that have a chart on the first page, which costs most there."""
ROWS_MAX = 250
"""Pools that have a row of the table; of those behind them, which have no trouble but by the hundred, their names."""
COLUMNS = {"1h": (240, 600), "6h": (360, 3600)}
"""Of the charts on a pool's page: how many, and the seconds between two ticks, for each of SPANS."""
NOTICES_MAX = 5
"""Pools whose failure is told above all others; each has its row, too."""
WORKERS_MAX = 500
"""Rows; the busy ones come first."""
FEW = 6
"""Slow requests and deaths that are not folded."""
EVENTS_MAX = 15
LONG = 5.0
"""Seconds from which a current request stands out."""
GROWN = 50 << 20
"""Bytes from which the growth in a route stands out."""

HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", f"{POLICY}; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)
"""What an HTTP server sends with these pages."""
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cg fill='%23{}'%3E"
    "%3Cpath d='M1 9h3v6H1zM6.5 5h3v10h-3zM12 1h3v14h-3z'/%3E%3C/g%3E%3C/svg%3E"
)
_FINE, _TROUBLE = Markup(_ICON.format("2a6fdb")), Markup(_ICON.format("d4381f"))
_URGENT = (Trouble.FAILED, Trouble.SATURATED)
_CODES = ("application", "listens on", "directory", "python", "error log", "access log", "slow log")
"""Facts that are paths or names of programs."""


def render_overview(overview: Overview, wanted: Filter | None = None) -> bytes:
    """Render the page at `/`: all pools, or those that are wanted."""
    front = make_front(overview.pools, wanted or Filter())
    axis = make_axis(overview.daemon.now, SPANS["1h"], SPARK_COLUMNS, SPARK_TICK, SPARK_EDGE)
    return _render(
        "overview.html",
        overview.daemon,
        OVERVIEW_REFRESH + len(overview.pools) // MANY,
        front.is_urgent,
        front=front,
        failed=front.failed,
        notices=NOTICES_MAX,
        total=front.total,
        axis=axis,
        hour=f"{axis.ends[0]} to {axis.ends[1]}",
        sparkline=_sparkline,
        sparks=SPARKS_MAX,
        rows=ROWS_MAX,
        unfolded=front.wanted != Filter() or not front.lines,
    )


def render_pool(page: PoolPage, span: str = "1h") -> bytes:
    """Render the page at `/pool/NAME`: one pool and its workers, with its past of one of SPANS."""
    daemon, pool = page.daemon, page.pool
    ordered = sorted(pool.workers, key=lambda worker: (worker.idle, -worker.request_age, worker.pid))
    axis, line = make_axis(daemon.now, SPANS[span], *COLUMNS[span]), make_line(pool)
    return _render(
        "pool.html",
        daemon,
        POOL_REFRESH,
        line.trouble in _URGENT,
        pool=pool,
        numbers=pool.numbers,
        line=line,
        trouble=line.trouble,
        explanation=page.explanation,
        charts=draw_all(pool.history, axis, pool.numbers.max_children),
        axis=axis,
        span=span,
        spans=tuple(SPANS),
        events=_events(pool, daemon.now),
        periods=make_periods(pool),
        workers=ordered[:WORKERS_MAX],
        left_out=len(ordered) - WORKERS_MAX,
        long=LONG,
        few=FEW,
        grown=GROWN,
        facts=_facts(pool, daemon.now),
        limits=pool.limits,
        codes=_CODES,
    )


def _render(name: str, daemon: Daemon, refresh: int, is_urgent: bool, **values: Any) -> bytes:
    icon = _TROUBLE if is_urgent else _FINE
    page = _ENVIRONMENT.get_template(name).render(daemon=daemon, refresh=refresh, icon=icon, **values)
    return page.encode("utf-8", "replace")


def _sparkline(pool: Pool, axis: Axis) -> Chart | None:
    return draw_workers(pool.history, axis, pool.numbers.max_children, SPARK_HEIGHT)


def _events(pool: Pool, now: float) -> list[PlacedMark]:
    """What has happened to the pool of late, the newest first."""
    return place_marks(pool.marks, now - SPANS["6h"], now)[: -EVENTS_MAX - 1 : -1]


def _facts(pool: Pool, now: float) -> list[tuple[str, str]]:
    """What there is to say of the pool, with where its code, its user and its logs are."""
    facts = pool_facts(pool, now, dates=True)
    own = [("directory", pool.directory), ("user", pool.user), ("python", pool.python)]
    logs = [(f"{kind} log", path) for kind, path in pool.logs]
    return [*facts[:1], *[(name, text) for name, text in own if text], *facts[1:], *logs]


_ENVIRONMENT = make_environment()
