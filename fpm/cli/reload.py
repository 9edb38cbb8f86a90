"""`pyfpm reload` and `pyfpm rollback`: ask for it, show the steps, say how it ended."""

from __future__ import annotations

import sys
from typing import Any

import click

from fpm.cli.options import Options
from fpm.client.control import ask, follow, read_step


@click.command()
@click.argument("pools", nargs=-1, metavar="[POOL]...")
@click.option("--dry-run", is_flag=True, help="Only print what would happen.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the outcome; the log and the status have it.")
@click.option("--timeout", default=0.0, help="Seconds for the proof of the new generations; 0: startup_timeout alone.")
@click.pass_context
def reload(ctx: click.Context, pools: tuple[str, ...], dry_run: bool, no_wait: bool, timeout: float) -> None:
    """Prove new generations of the pools that have changed (or are named, or of all), then swap them in.

    Exit status 0: they serve. 1: one could not be proved, 78: the configuration is wrong; nothing has changed then.
    """
    options: Options = ctx.obj
    request = {"command": "reload", "pools": list(pools), "timeout": timeout, "dry_run": dry_run}
    if dry_run:
        answer = ask(options.control_path(), request)
        for line in answer.get("plan", []):
            click.echo(line)
        ctx.exit(_conclude(answer, "the plan cannot be made"))
    if no_wait:
        ask_without_waiting(options, request)
        return
    ctx.exit(_conclude(follow(options.control_path(), request, show_step), "reload failed, nothing has changed"))


@click.command()
@click.argument("pool")
@click.option("--timeout", default=0.0, help="Seconds for the proof; 0: startup_timeout alone.")
@click.pass_context
def rollback(ctx: click.Context, pool: str, timeout: float) -> None:
    """Return a pool to its generation before this one: its configuration and its resolved directory."""
    options: Options = ctx.obj
    request = {"command": "rollback", "pool": pool, "timeout": timeout}
    ctx.exit(_conclude(follow(options.control_path(), request, show_step), "rollback failed, nothing has changed"))


@click.command()
@click.pass_context
def upgrade(ctx: click.Context) -> None:
    """Let the running daemon become the installed pyfpm, without losing a connection; its pid stays."""
    options: Options = ctx.obj
    answer = follow(options.control_path(), {"command": "upgrade"}, show_step)
    status = _conclude(answer, "upgrade failed, nothing has changed")
    if status == 0:
        click.echo(f"pyfpm {answer.get('version')} runs", err=True)
    ctx.exit(status)


def ask_without_waiting(options: Options, request: dict[str, Any]) -> None:
    """Start it; the master goes on when we have gone."""
    ask(options.control_path(), {**request, "no_wait": True})


def show_step(message: dict[str, Any]) -> None:
    """One step, as one line on standard error."""
    click.echo(read_step(message), err=True)


def _conclude(answer: dict[str, Any], failed: str) -> int:
    if answer.get("ok"):
        return 0
    for complaint in answer.get("complaints", []):
        click.echo(f"pyfpm: {complaint}", err=True)
    if answer.get("traceback"):
        sys.stderr.write(str(answer["traceback"]).rstrip("\n") + "\n")
    click.echo(f"pyfpm: {failed}", err=True)
    return int(answer.get("status", 1))
