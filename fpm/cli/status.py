"""`pyfpm status`: tables on a terminal; with `--format` the pages for programs, such as PHP-FPM's text page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from fpm.client.control import ask
from fpm.errors import EXIT_FAILED
from fpm.log.escape import escape
from fpm.log.times import format_access_time
from fpm.status.deaths import death_line
from fpm.status.overview import read_death

if TYPE_CHECKING:
    from fpm.status.overview import Pool

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
    for name, error, traceback in failed:
        click.echo(f"\npool {name} has failed: {error}", err=True)
        click.echo(traceback, err=True)
    if failed:
        ctx.exit(EXIT_FAILED)


def describe_reload(last: dict[str, Any]) -> str:
    """`succeeded, TIME` or `failed, TIME: reason`."""
    when = format_access_time(last["at"])
    return f"succeeded, {when}" if last["ok"] else f"failed, {when}: {last['reason']}"


def text_page(pool: dict[str, Any]) -> str:
    """Return a pool's page with what only the master knows, between PHP-FPM's lines and those of each process."""
    page: str = pool["page"]
    summary, gap, processes = page.partition("\n\n")
    last = "".join(f"\n{line}" for line in _death_lines(pool))
    more = {"state": pool["state"], "generation": pool["generation"], "directory": pool["directory"]}
    known = summary.splitlines()
    lines = [f"{name + ':':<22}{value}" for name, value in more.items() if value is not None]
    lines = [line for line in lines if line not in known]
    return "\n".join([summary.rstrip("\n"), *lines]) + gap + processes.rstrip("\n") + last


def _death_lines(pool: dict[str, Any]) -> Iterator[str]:
    """The death certificates, where all of a pool was asked for; the newest first."""
    if pool.get("deaths"):
        yield ""
    for one in pool.get("deaths", ()):
        death = read_death(one)
        yield f"{'death:':<22}{format_access_time(death.at)} {escape(death_line(death))}"


Failures = list[tuple[str, str, str]]
"""Name, error, traceback."""


def _print_pages(path: str, pool: str | None, form: str, full: bool) -> Failures:
    query = form + ("&full" if full else "")
    answer = ask(path, {"command": "status", "pool": pool, "query": query})
    pools = answer["pools"]
    if form in DOCUMENTS and len(pools) > 1:
        raise click.UsageError(f"--format {form} shows one pool; there are: {', '.join(one['name'] for one in pools)}")
    if form == "json" and pool is None:
        click.echo("[" + ",".join(one["page"] for one in pools) + "]")
    else:
        pages = (text_page(one) if form == "text" else one["page"] for one in pools)
        click.echo("\n".join(page.rstrip("\n") for page in pages))
    if form == "text" and answer.get("last_reload") is not None:
        click.echo(f"\nlast reload:          {describe_reload(answer['last_reload'])}")
    return [(one["name"], one["error"], one["traceback"]) for one in pools if one["state"] == "failed"]


def _show_tables(path: str, name: str | None, full: bool) -> Failures:
    # Late: rich is for those who look, not for the daemon.
    from fpm.cli import status_rows, tables
    from fpm.cli.columns import Cell
    from fpm.client.snapshot import look

    snapshot = look(path, name, workers=full or name is not None)
    now = snapshot.daemon.now
    console = tables.make_console()
    parts: list[Any] = [tables.line(Cell(status_rows.head_line(snapshot.daemon), "bold"))]
    if name is None:
        parts += ["", tables.table(status_rows.pool_columns(snapshot.pools), console.width)]
    for pool in snapshot.pools if full or name is not None else ():
        parts += ["", tables.line(Cell(f"pool {status_rows.show_text(pool.name)}", "bold"))]
        if name is not None:
            parts.append(tables.facts(status_rows.pool_facts(pool, now)))
        if pool.workers:
            parts += ["", tables.table(status_rows.worker_columns(pool), console.width)]
        events = [tables.line(one) for one in status_rows.event_lines(pool, now)]
        parts += ["", *events] if events else []
    parts += ["", tables.line(status_rows.reload_line(snapshot.daemon))]
    tables.show(console, parts)
    return [_failure(pool) for pool in snapshot.pools if pool.state == "failed"]


def _failure(pool: Pool) -> tuple[str, str, str]:
    return (pool.name, pool.error, pool.traceback)
