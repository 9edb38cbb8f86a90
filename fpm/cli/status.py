"""`pyfpm status`: tables on a terminal; with `--format` the pages for programs, such as PHP-FPM's text page."""

from __future__ import annotations

import sys
from typing import Any

import click

from fpm.cli.output import complain, print_page, quote, say
from fpm.client.control import fetch_snapshot
from fpm.errors import EXIT_FAILED
from fpm.status.overview import Pool
from fpm.status.reports import describe_reload, report_pool

FORMATS = ("table", "text", "json", "html", "xml", "openmetrics")
DOCUMENTS = frozenset({"html", "xml", "openmetrics"})
"""Formats in which two pages one after the other are no valid document."""


@click.command()
@click.argument("pool", required=False)
@click.option("--full", is_flag=True, help="Also show each worker.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Tables (default on a terminal), or PHP-FPM's status page of each pool (default in a pipe: text).",
)
@click.pass_context
def status(ctx: click.Context, pool: str | None, full: bool, form: str | None) -> None:
    """Show the state of the pools; exit status 1 if one of them has failed."""
    path = ctx.obj.control_path()
    form = form or ("table" if sys.stdout.isatty() else "text")
    failed = _show_tables(path, pool, full) if form == "table" else _print_pages(path, pool, form, full)
    for name, trouble, traceback in failed:
        complain("")
        complain(f"pool {name} {trouble}")
        quote(traceback)
    if failed:
        ctx.exit(EXIT_FAILED)


Failures = list[tuple[str, str, str]]
"""Name, trouble, traceback."""


def _print_pages(path: str, name: str | None, form: str, full: bool) -> Failures:
    snapshot = fetch_snapshot(path, name, workers=full or form == "json")
    pools = snapshot.pools
    if form in DOCUMENTS and len(pools) > 1:
        raise click.UsageError(f"--format {form} shows one pool; there are: {', '.join(pool.name for pool in pools)}")
    reports = [report_pool(pool, form, full=full) for pool in pools]
    if form == "json" and name is None:
        print_page("[" + ",".join(reports) + "]")
    else:
        print_page("\n".join(reports))
    if form == "text" and snapshot.daemon.last_reload is not None:
        say("")
        say(f"last reload:          {describe_reload(snapshot.daemon.last_reload)}")
    return [_failure(pool) for pool in pools if pool.error]


def _show_tables(path: str, name: str | None, full: bool) -> Failures:
    # Late: rich is for those who look, not for the daemon.
    from fpm.cli import status_rows, tables
    from fpm.cli.columns import Cell

    snapshot = fetch_snapshot(path, name, workers=full or name is not None)
    now = snapshot.daemon.now
    console = tables.make_console()
    parts: list[Any] = [tables.line(Cell(status_rows.head_line(snapshot.daemon), "bold"))]
    if name is None:
        parts += ["", tables.table(status_rows.pool_columns(snapshot.pools), console.width)]
    for pool in snapshot.pools if full or name is not None else ():
        parts += ["", tables.line(Cell(f"pool {status_rows.show_text(pool.name)}", "bold"))]
        if name is not None:
            parts.append(tables.facts(status_rows.fact_cells(pool, now)))
        if pool.workers:
            parts += ["", tables.table(status_rows.worker_columns(pool), console.width)]
        events = [tables.line(one) for one in status_rows.event_lines(pool, now)]
        parts += ["", *events] if events else []
    parts += ["", tables.line(status_rows.reload_line(snapshot.daemon))]
    tables.show(console, parts)
    return [_failure(pool) for pool in snapshot.pools if pool.error]


def _failure(pool: Pool) -> tuple[str, str, str]:
    return (pool.name, pool.trouble, pool.traceback)
