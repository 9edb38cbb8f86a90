"""`pyfpm status`: tables; with `--format` the pages for programs, such as PHP-FPM's text page."""

from __future__ import annotations

from typing import Any

import click

from fpm.cli.options import examples, format_option
from fpm.cli.output import complain, print_page, quote, say
from fpm.client.control import fetch_snapshot
from fpm.errors import EXIT_FAILED
from fpm.status.overview import Pool
from fpm.status.reports import describe_reload, report_pool
from fpm.status.trouble import urgent_first

FORMATS = ("table", "text", "json", "html", "xml", "openmetrics", "checkmk")
DOCUMENTS = frozenset({"html", "xml", "openmetrics"})
"""Formats in which two pages one after the other are no valid document."""


def _check_options(command: click.decorators.FC) -> click.decorators.FC:
    """Add the options of `--check`."""
    what = "%s if a value is outside of RANGE: busy, queue, p95, 5xx, errors, deaths or background; can be repeated."
    for option in (
        click.option("--critical", multiple=True, metavar="NAME=RANGE", help=what % "CRITICAL"),
        click.option("--warning", multiple=True, metavar="NAME=RANGE", help=what % "WARNING"),
        click.option("--from", "address", default="", metavar="ADDRESS", help="Check at [global] status_listen."),
        click.option("--check", "is_check", is_flag=True, help="Be a plugin for Nagios, Icinga or Checkmk."),
    ):
        command = option(command)
    return command


@click.command(
    epilog=examples(
        "pyfpm status",
        "pyfpm status shop",
        "pyfpm status --format json | jq .[].pool",
        "pyfpm status --check --from 9001 --warning p95=1 --critical p95=5",
    )
)
@click.argument("pool", required=False)
@click.option("--full", is_flag=True, help="Also show each worker.")
@format_option(*FORMATS)
@_check_options
@click.pass_context
def status(ctx: click.Context, /, pool: str | None, full: bool, form: str, is_check: bool, **check: Any) -> None:
    """Show the state of the pools.

    Failed pools come first, then saturated ones, then those with errors or slow requests in the last five minutes. With
    POOL, everything about this pool, with its workers. All formats but the table are PHP-FPM's status page of each
    pool, for programs. Exit status 1: a pool has failed.

    With --check, one line with performance data, and the exit status of a monitoring plugin: 0 OK, 1 WARNING, 2
    CRITICAL, 3 UNKNOWN. With --from any user may do that whom that address lets. Checkmk: a local check, a line a pool.
    """
    if is_check and form not in ("table", "checkmk"):
        raise click.UsageError("--check prints one line, or with --format checkmk a line a pool.")
    if is_check:
        from fpm.cli.check_status import check_status  # late: with a client for HTTP

        ctx.exit(check_status(ctx.obj, pool, form=form, **check))
    if form == "checkmk" or any(check.values()):
        raise click.UsageError("--from, --warning, --critical and --format checkmk belong to --check.")
    path = ctx.obj.control_path()
    failed = _show_tables(path, pool, full) if form == "table" else _print_pages(path, pool, form, full)
    for name, trouble, traceback in failed:
        complain("")
        complain(f"pyfpm: pool {name} {trouble}")
        quote(traceback)
    if failed:
        ctx.exit(EXIT_FAILED)


Failures = list[tuple[str, str, str]]
"""Name, trouble, traceback."""


def _print_pages(path: str, name: str | None, form: str, full: bool) -> Failures:
    snapshot = fetch_snapshot(path, name, workers=full or form == "json", past=True)
    pools = snapshot.pools
    if form in DOCUMENTS and len(pools) > 1:
        raise click.UsageError(f"--format {form} shows one pool; there are: {', '.join(pool.name for pool in pools)}")
    reports = [report_pool(pool, form, full=full) for pool in pools]
    if form == "json" and name is None:
        print_page("[" + ",".join(reports) + "]")
    else:
        print_page(("\n\n" if form == "text" else "\n").join(reports))
    if form == "text" and snapshot.daemon.last_reload is not None:
        say("")
        say(f"last reload:          {describe_reload(snapshot.daemon.last_reload)}")
    return [_failure(pool) for pool in pools if pool.error]


def _show_tables(path: str, name: str | None, full: bool) -> Failures:
    # Late: rich is for those who look, not for the daemon.
    from fpm.cli import status_rows, tables
    from fpm.cli.columns import Cell
    from fpm.cli.status_past import past_note

    snapshot = fetch_snapshot(path, name, workers=full or name is not None, past=True)
    now = snapshot.daemon.now
    console = tables.make_console()
    ordered = urgent_first(snapshot.pools)
    parts: list[Any] = [tables.line(Cell(status_rows.head_line(snapshot.daemon), "bold"))]
    if name is None:
        parts += ["", tables.table(status_rows.pool_columns(ordered), console.width)]
        parts += ["", tables.line(Cell(past_note(ordered), "dim"))]
    for pool in ordered if full or name is not None else ():
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
