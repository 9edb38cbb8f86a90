"""The commands that talk to the running master: stop, reload, reopen-logs, status."""

from __future__ import annotations

from typing import Any

import click

from fpm.cli.control_client import ask
from fpm.cli.control_client import stop as stop_and_wait
from fpm.cli.options import Options
from fpm.errors import EXIT_FAILED
from fpm.log.times import format_access_time

FORMATS = ("text", "json", "html", "xml", "openmetrics")

DOCUMENTS = frozenset({"html", "xml", "openmetrics"})
"""Formats in which two pages one after the other are no valid document."""


@click.command()
@click.option("--now", is_flag=True, help="Do not let requests in hand finish (SIGTERM instead of SIGQUIT).")
@click.option("--timeout", default=0.0, help="Seconds to wait for the end; 0: for ever.", show_default=True)
@click.pass_obj
def stop(options: Options, now: bool, timeout: float) -> None:
    """Stop the daemon and wait until it has gone."""
    stop_and_wait(options.control_path(), now=now, timeout=timeout)


@click.command("reopen-logs")
@click.pass_obj
def reopen_logs(options: Options) -> None:
    """Open all log files anew, after they have been moved (SIGUSR1)."""
    ask(options.control_path(), {"command": "reopen-logs"})


def describe_reload(last: dict[str, Any]) -> str:
    """`succeeded, TIME` or `failed, TIME: reason`."""
    when = format_access_time(last["at"])
    return f"succeeded, {when}" if last["ok"] else f"failed, {when}: {last['reason']}"


def text_page(pool: dict[str, Any]) -> str:
    """A pool's page with what only the master knows after PHP-FPM's lines, before those of each process."""
    page: str = pool["page"]
    summary, gap, processes = page.partition("\n\n")
    more = {"state": pool["state"], "generation": pool["generation"], "directory": pool["directory"]}
    lines = [f"{name + ':':<22}{value}" for name, value in more.items() if value is not None]
    return "\n".join([summary.rstrip("\n"), *lines]) + gap + processes


@click.command()
@click.argument("pool", required=False)
@click.option("--full", is_flag=True, help="Each worker, too.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.pass_context
def status(ctx: click.Context, pool: str | None, full: bool, form: str) -> None:
    """What the pools are doing; exit status 1 if one of them has failed."""
    options: Options = ctx.obj
    query = form + ("&full" if full else "")
    answer = ask(options.control_path(), {"command": "status", "pool": pool, "query": query})
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
    failed = [one for one in pools if one["state"] == "failed"]
    for one in failed:
        click.echo(f"\npool {one['name']} has failed: {one['error']}", err=True)
        click.echo(one["traceback"], err=True)
    if failed:
        ctx.exit(EXIT_FAILED)
