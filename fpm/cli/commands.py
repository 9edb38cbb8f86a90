"""`pyfpm stop`, `reopen-logs`, `reload`, `rollback` and `upgrade`: send the request, show the steps and the result."""

from __future__ import annotations

from typing import Any

import click

from fpm.cli.options import Options
from fpm.cli.output import complain, has_journal, inform, quote, say
from fpm.client.control import ask, follow, read_step
from fpm.client.control import stop as stop_and_wait


@click.command()
@click.option("--now", is_flag=True, help="Do not let in-flight requests finish (SIGTERM instead of SIGQUIT).")
@click.option("--timeout", default=0.0, help="Seconds to wait for the exit; 0: no limit.", show_default=True)
@click.pass_obj
def stop(options: Options, now: bool, timeout: float) -> None:
    """Stop the daemon and wait until it has exited."""
    stop_and_wait(options.control_path(), now=now, timeout=timeout)


@click.command("reopen-logs")
@click.pass_obj
def reopen_logs(options: Options) -> None:
    """Reopen all log files, after they have been moved (SIGUSR1)."""
    ask(options.control_path(), {"command": "reopen-logs"})


@click.command()
@click.argument("pools", nargs=-1, metavar="[POOL]...")
@click.option("--changed", is_flag=True, help="Only pools whose configuration, directory or interpreter differ.")
@click.option("--dry-run", is_flag=True, help="Only print what would happen.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the outcome; see the log or `pyfpm status`.")
@click.option("--timeout", default=0.0, help="Seconds for checking the new generations; 0: only startup_timeout.")
@click.pass_context
def reload(
    ctx: click.Context, pools: tuple[str, ...], changed: bool, dry_run: bool, no_wait: bool, timeout: float
) -> None:
    """Check new generations of all pools, of the named or of the changed ones, then swap them in.

    The plan goes to standard output: what becomes of each pool, and from which directory it is imported.
    Exit status 0: they serve. 1: a check failed, 78: the configuration is wrong; nothing has changed then.
    """
    if pools and changed:
        raise click.UsageError("--changed goes without names: a named pool gets a new generation in any case.")
    options: Options = ctx.obj
    request = {"command": "reload", "pools": list(pools), "changed": changed, "timeout": timeout, "dry_run": dry_run}
    if dry_run:
        answer = ask(options.control_path(), request)
        show_plan(answer)
        ctx.exit(_conclude(answer, "the plan cannot be made"))
    if no_wait:
        answer = ask(options.control_path(), {**request, "no_wait": True})
        show_step(answer)
        ctx.exit(_conclude(answer, "reload failed, nothing has changed"))
    ctx.exit(_conclude(follow(options.control_path(), request, show_step), "reload failed, nothing has changed"))


@click.command()
@click.argument("pool")
@click.option("--timeout", default=0.0, help="Seconds for the check; 0: only startup_timeout.")
@click.pass_context
def rollback(ctx: click.Context, pool: str, timeout: float) -> None:
    """Return a pool to its previous generation: its configuration and its resolved directory."""
    options: Options = ctx.obj
    request = {"command": "rollback", "pool": pool, "timeout": timeout}
    ctx.exit(_conclude(follow(options.control_path(), request, show_step), "rollback failed, nothing has changed"))


@click.command()
@click.pass_context
def upgrade(ctx: click.Context) -> None:
    """Replace the running daemon with the installed version, without losing a connection; the pid stays."""
    options: Options = ctx.obj
    answer = follow(options.control_path(), {"command": "upgrade"}, show_step)
    status = _conclude(answer, "upgrade failed, nothing has changed")
    if status == 0:
        inform(f"pyfpm {answer.get('version')} is running")
    ctx.exit(status)


def show_step(message: dict[str, Any]) -> None:
    """Print the plan on standard output, and a step as one line on standard error, for a person who waits."""
    if has_journal():
        return  # there the daemon's own log has the same
    if "plan" in message:
        show_plan(message)
    elif "ok" not in message or "step" in message:
        inform(read_step(message))


def show_plan(message: dict[str, Any]) -> None:
    """Print a line for each pool."""
    for line in message.get("plan", []):
        say(line)


def _conclude(answer: dict[str, Any], failed: str) -> int:
    if answer.get("ok"):
        return 0
    for complaint in answer.get("complaints", []):
        complain(f"pyfpm: {complaint}")
    if not has_journal():
        quote(str(answer.get("traceback") or ""))
    if answer.get("partial"):
        failed = "the other pools have been reloaded"
    complain(f"pyfpm: {failed}")
    return int(answer.get("status", 1))
