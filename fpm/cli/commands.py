"""The commands that talk to the running master: stop, reload, reopen-logs, status."""

from __future__ import annotations

import click

from fpm.cli.control_client import ask
from fpm.cli.control_client import stop as stop_and_wait
from fpm.cli.options import Options
from fpm.errors import EXIT_CONFIG
from fpm.errors import EXIT_FAILED

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


@click.command()
@click.pass_context
def reload(ctx: click.Context) -> None:
    """Read the configuration anew; every pool gets a new generation of workers."""
    options: Options = ctx.obj
    answer = ask(options.control_path(), {"command": "reload"})
    for complaint in answer.get("complaints", []):
        click.echo(complaint, err=True)
    if not answer.get("ok"):
        click.echo("pyfpm: reload failed, the former configuration serves on", err=True)
        ctx.exit(EXIT_CONFIG)


@click.command("reopen-logs")
@click.pass_obj
def reopen_logs(options: Options) -> None:
    """Open all log files anew, after they have been moved (SIGUSR1)."""
    ask(options.control_path(), {"command": "reopen-logs"})


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
        click.echo("\n".join(one["page"].rstrip("\n") for one in pools))
    failed = [one for one in pools if one["state"] == "failed"]
    for one in failed:
        click.echo(f"\npool {one['name']} has failed: {one['error']}", err=True)
        click.echo(one["traceback"], err=True)
    if failed:
        ctx.exit(EXIT_FAILED)
