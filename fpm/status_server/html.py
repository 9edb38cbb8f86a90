"""The daemon's own HTML pages: all pools at a glance, and one pool with its workers.

For people, unlike PHP-FPM's `?html`: readable on a phone and in the dark, and without JavaScript. The templates escape
whatever they are given; nothing comes from another host, nor from another file. Pure.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from fpm.log.escape import escape
from fpm.log.times import format_access_time
from fpm.status.death_text import death_notes, request_words
from fpm.status.facts import pool_facts
from fpm.status.figures import format_age, format_count, format_rate, format_size, format_span
from fpm.status.overview import Daemon, Overview, Pool, PoolPage
from fpm.status_server.chart import Chart, make_chart

OVERVIEW_REFRESH = 5
"""Seconds."""
POOL_REFRESH = 2
MANY = 100
"""Pools of whose page the refresh takes its time: a second more for each hundred."""
SPARKS = 60
"""Points of the small histories."""
WORKERS_MAX = 500
"""Rows; the busy ones come first."""
LONG = 5.0
"""Seconds from which a current request stands out."""
TEXT_MAX = 300
"""Characters of a name or a URI that are shown."""
TRACEBACK_MAX = 65536


def _read(name: str) -> str:
    return files("fpm.status_server").joinpath("templates", name).read_text()


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


_STYLE, _SCRIPT = _read("style.css"), _read("refresh.js")
_POLICY = (
    f"default-src 'none'; style-src '{_digest(_STYLE)}'; script-src '{_digest(_SCRIPT)}'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'"
)
HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", f"{_POLICY}; frame-ancestors 'none'"),
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


def render_overview(overview: Overview) -> bytes:
    """Render the page at `/`: all pools."""
    pools = overview.pools
    failed = [pool for pool in pools if pool.trouble]
    refresh = OVERVIEW_REFRESH + len(pools) // MANY
    return _render("overview.html", overview.daemon, refresh, bool(failed), pools=pools, failed=failed)


def render_pool(page: PoolPage) -> bytes:
    """Render the page at `/pool/NAME`: one pool and its workers."""
    daemon, pool = page.daemon, page.pool
    ordered = sorted(pool.workers, key=lambda worker: (worker.idle, -worker.request_age, worker.pid))
    return _render(
        "pool.html",
        daemon,
        POOL_REFRESH,
        pool.numbers.failed,
        pool=pool,
        numbers=pool.numbers,
        chart=make_chart(pool.history, limit=pool.numbers.max_children, height=130),
        workers=ordered[:WORKERS_MAX],
        left_out=len(ordered) - WORKERS_MAX,
        long=LONG,
        facts=pool_facts(pool, daemon.now, dates=False),
    )


def _render(name: str, daemon: Daemon, refresh: int, trouble: bool, **values: Any) -> bytes:
    icon = _TROUBLE if trouble else _FINE
    page = _ENVIRONMENT.get_template(name).render(daemon=daemon, refresh=refresh, icon=icon, **values)
    return page.encode("utf-8", "replace")


def _finalize(value: Any) -> Any:
    """What is shown of a value: of a text from outside no control characters, and not more than TEXT_MAX."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape(value if len(value) <= TEXT_MAX else value[:TEXT_MAX] + " ...")
    return value


def _lines(raw: str) -> Markup:
    """Several lines, for <pre>."""
    return Markup("\n").join(escape(line) for line in raw[:TRACEBACK_MAX].split("\n"))


def _total(values: Iterable[float | None]) -> float | None:
    """The sum of those that are known; None if none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _sparkline(pool: Pool) -> Chart | None:
    return make_chart(pool.history, limit=pool.numbers.max_children, height=34, points_max=SPARKS)


def _make_environment() -> Environment:
    names = ("base.html", "overview.html", "pool.html", "parts.html")
    made = Environment(
        loader=DictLoader({name: _read(name) for name in names}),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        {
            "age": format_age,
            "count": format_count,
            "fate": request_words,
            "lines": _lines,
            "notes": death_notes,
            "quote": lambda name: quote(name, safe="", errors="surrogatepass"),
            "rate": format_rate,
            "size": format_size,
            "span": format_span,
            "sparkline": _sparkline,
            "time": format_access_time,
            "total": _total,
            "unbroken": lambda value: Markup.escape(value).replace(" ", Markup("&nbsp;")),
        }
    )
    made.globals.update(policy=_POLICY, script=Markup(_SCRIPT), style=Markup(_STYLE))
    parts = vars(made.get_template("parts.html").module)
    made.globals.update({name: macro for name, macro in parts.items() if not name.startswith("_")})
    return made


_ENVIRONMENT = _make_environment()
for _name in ("overview.html", "pool.html", "base.html"):
    _ENVIRONMENT.get_template(_name)  # compiled while the files and the modules for it are within reach
