"""The daemon's own HTML pages: all pools at a glance, and one pool with its workers.

For people, unlike PHP-FPM's `?html`: readable on a phone and in the dark, and without JavaScript.
"""

from __future__ import annotations

from urllib.parse import quote

from fpm.status.figures import format_count, format_rate, format_size
from fpm.status.overview import Overview, Pool, PoolPage, Reload
from fpm.status.web_chart import chart
from fpm.status.web_document import HEADERS, Content, document
from fpm.status.web_parts import Cell, badge, lines, meter, moment, table, text, tile, tiles
from fpm.status.web_pool import pool_body

__all__ = ["HEADERS", "render_overview", "render_pool"]

OVERVIEW_REFRESH = 5
POOL_REFRESH = 2
SPARKS = 60
"""Points of the small histories."""
MANY = 100
"""Pools of whose page the refresh takes its time: a second more for each hundred."""
STATE_KINDS = {"running": "ok", "starting": "warn", "stopping": "warn", "failed": "bad"}
"""Colours; every other state is a quiet one."""
POOL_HEADS = (
    ("Pool", ""),
    ("State", ""),
    ("Busy", ""),
    ("Queue", "num"),
    ("Requests/s", "num"),
    ("Requests", "num"),
    ("Errors", "num"),
    ("Slow", "num"),
    ("Memory", "num"),
    ("Of late", ""),
)


def render_overview(overview: Overview) -> bytes:
    """The page at `/`: all pools."""
    daemon, pools = overview.daemon, overview.pools
    failed = [pool for pool in pools if pool.numbers.failed]
    body = [_reload_notice(daemon.last_reload, daemon.now), *(_failed_notice(pool) for pool in failed)]
    body.append(_summary(pools, len(failed)))
    body.append("<h2>Pools</h2>")
    body.append(table(POOL_HEADS, [_row(pool) for pool in pools]) if pools else '<p class="card empty">No pool.</p>')
    host = text(daemon.host)
    title = f"{f'{len(failed)} failed - ' if failed else ''}pyfpm on {host}"
    heading = f"<h1>{host}</h1>"
    return document(daemon, Content(title, heading, "".join(body), OVERVIEW_REFRESH + len(pools) // MANY, bool(failed)))


def render_pool(page: PoolPage) -> bytes:
    """The page at `/pool/NAME`: one pool and its workers."""
    daemon, pool = page.daemon, page.pool
    name = text(pool.name)
    notices = [_reload_notice(daemon.last_reload, daemon.now)]
    if pool.numbers.failed:
        waits = pool.numbers.next_start - daemon.now
        again = f" Next try in {waits:.0f} s." if waits > 0 else ""
        notices.append(
            f'<div class="notice">The application does not start: {text(pool.error)}.{again}'
            f'<details id="traceback" open><summary>Traceback</summary>'
            f"<pre>{lines(pool.traceback)}</pre></details></div>"
        )
    title = f"{'failed - ' if pool.numbers.failed else ''}{name} - pyfpm on {text(daemon.host)}"
    heading = f'<h1><a href="../">{text(daemon.host)}</a> / {name}</h1>{_state(pool)}'
    body = "".join(notices) + pool_body(pool, daemon.now)
    return document(daemon, Content(title, heading, body, POOL_REFRESH, pool.numbers.failed))


def _state(pool: Pool) -> str:
    return badge(pool.state, STATE_KINDS.get(pool.state, ""))


def _reload_notice(last: Reload | None, now: float) -> str:
    if last is None or last.ok:
        return ""
    return (
        f'<div class="notice warn">The last reload, {moment(last.at, now)}, failed and has changed nothing:'
        f"<pre>{lines(last.reason)}</pre></div>"
    )


def _link(pool: Pool) -> str:
    return f'<a href="pool/{quote(pool.name, safe="", errors="surrogatepass")}">{text(pool.name)}</a>'


def _failed_notice(pool: Pool) -> str:
    return f'<div class="notice">{_link(pool)} has failed: {text(pool.error)}</div>'


def _summary(pools: tuple[Pool, ...], failed: int) -> str:
    busy = sum(pool.numbers.active for pool in pools)
    total = sum(pool.numbers.total for pool in pools)
    queue = sum(pool.numbers.listen_queue for pool in pools)
    rates = [pool.rate for pool in pools if pool.rate is not None]
    sizes = [pool.numbers.memory_pss for pool in pools if pool.numbers.memory_pss is not None]
    errors = sum(pool.numbers.errors for pool in pools)
    return tiles(
        [
            tile("Pools", str(len(pools)), f"{failed} failed" if failed else "", "bad" if failed else ""),
            tile("Busy workers", str(busy), f"of {total}"),
            tile("Requests/s", format_rate(sum(rates) if rates else None)),
            tile("Waiting", format_count(queue), kind="warn" if queue else ""),
            tile("Requests", format_count(sum(pool.numbers.requests for pool in pools))),
            tile("Errors", format_count(errors), kind="bad" if errors else ""),
            tile("Memory", format_size(sum(sizes) if sizes else None)),
        ]
    )


def _row(pool: Pool) -> list[Cell]:
    numbers = pool.numbers
    most = numbers.max_children
    history = chart(pool.history, limit=most, height=34, label="busy and idle workers, queue", points_max=SPARKS)
    return [
        Cell(f'{_link(pool)}<span class="soft">{text(pool.app)}</span>', "name"),
        Cell(_state(pool)),
        Cell(f"{numbers.active} / {most}{meter(numbers.active, numbers.idle, most)}"),
        Cell(format_count(numbers.listen_queue), "num hot" if numbers.listen_queue else "num"),
        Cell(format_rate(pool.rate), "num"),
        Cell(format_count(numbers.requests), "num"),
        Cell(format_count(numbers.errors), "num hot" if numbers.errors else "num"),
        Cell(format_count(numbers.slow_requests), "num warm" if numbers.slow_requests else "num"),
        Cell(format_size(numbers.memory_pss), "num"),
        Cell(history, "spark wide" if history else "spark none"),
    ]
