"""`pyfpm stop`, `reopen-logs`, `reload`, `rollback` and `upgrade`: send the request, show the steps and the result."""

from __future__ import annotations

import time
from typing import Any

import click

from fpm.cli.options import Options, examples, format_option, timeout_option
from fpm.cli.output import complain, has_journal, inform, print_json, quote, say
from fpm.cli.progress import Progress
from fpm.cli.waiting_for import ReloadSteps, plan_words, requests_words
from fpm.client.control import ask, fetch_snapshot, follow, read_step
from fpm.client.control import stop as stop_and_wait
from fpm.errors import ControlError

VERBOSE = "Print each step, not only a line about all."


@click.command(epilog=examples("pyfpm stop", "pyfpm stop --timeout 60 || pyfpm stop --now"))
@click.option("--now", is_flag=True, help="Do not let in-flight requests finish (SIGTERM instead of SIGQUIT).")
@timeout_option(0.0, "to wait for the exit")
@format_option()
@click.pass_obj
def stop(options: Options, now: bool, timeout: float, form: str) -> None:
    """Stop the daemon and wait until it has exited.

    After a second it says for which requests it waits.
    """
    path, progress, begun = options.control_path(), Progress(), time.monotonic()

    def look() -> None:
        try:
            progress.show(requests_words(fetch_snapshot(path, workers=True).pools))
        except ControlError:
            return  # it has exited, which the caller is about to learn

    try:
        pid = stop_and_wait(path, now=now, timeout=timeout, while_waiting=look)
    finally:
        progress.erase()
    if form == "json":
        print_json({"ok": True, "pid": pid, "seconds": round(time.monotonic() - begun, 3)})


@click.command("reopen-logs", epilog=examples("pyfpm reopen-logs    # in logrotate's postrotate"))
@format_option()
@click.pass_obj
def reopen_logs(options: Options, form: str) -> None:
    """Reopen all log files after they have been moved.

    No worker is replaced; the signal SIGUSR1 does the same.
    """
    ask(options.control_path(), {"command": "reopen-logs"})
    if form == "json":
        print_json({"ok": True})


@click.command(
    epilog=examples(
        "pyfpm reload                 # every pool that runs gets the current code",
        "pyfpm reload shop            # only this pool",
        "pyfpm reload --changed --dry-run",
    )
)
@click.argument("pools", nargs=-1, metavar="[POOL]...")
@click.option(
    "--changed", is_flag=True, help="Only pools whose configuration, directory, interpreter or env_file differ."
)
@click.option("--dry-run", is_flag=True, help="Only print what would happen.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the outcome; see the log or `pyfpm status`.")
@timeout_option(0.0, "for all checks, beside startup_timeout for each")
@click.option("--verbose", is_flag=True, help=VERBOSE)
@format_option()
@click.pass_context
def reload(
    ctx: click.Context,
    pools: tuple[str, ...],
    changed: bool,
    dry_run: bool,
    no_wait: bool,
    timeout: float,
    verbose: bool,
    form: str,
) -> None:
    """Check new code and configuration, then serve with them.

    All pools that run get a new generation of workers, or only the named or the changed ones. Each generation is
    checked before anything is replaced; if a check fails, the old workers stay.

    The plan goes to standard output: what becomes of each pool, and from which directory it is imported.
    Exit status 0: they serve. 1: a check failed, 78: the configuration is wrong; nothing has changed then.
    """
    if pools and changed:
        raise click.UsageError("--changed goes without names: a named pool gets a new generation in any case.")
    request = {"command": "reload", "pools": list(pools), "changed": changed, "timeout": timeout, "dry_run": dry_run}
    change = _Change(ctx.obj, form=form, verbose=verbose)
    if dry_run:
        ctx.exit(change.ask(request, "the plan cannot be made"))
    if no_wait:
        ctx.exit(change.ask({**request, "no_wait": True}, "reload failed, nothing has changed"))
    ctx.exit(change.follow(request, "reload failed, nothing has changed"))


@click.command(epilog=examples("pyfpm rollback shop"))
@click.argument("pool")
@timeout_option(0.0, "for the check, beside startup_timeout")
@click.option("--verbose", is_flag=True, help=VERBOSE)
@format_option()
@click.pass_context
def rollback(ctx: click.Context, pool: str, timeout: float, verbose: bool, form: str) -> None:
    """Return a pool to its previous generation.

    That is its configuration and its resolved directory; it is checked as by a reload. Exit status 78: there is none.
    """
    request = {"command": "rollback", "pool": pool, "timeout": timeout}
    change = _Change(ctx.obj, form=form, verbose=verbose)
    ctx.exit(change.follow(request, "rollback failed, nothing has changed"))


@click.command(epilog=examples("apt-get install --only-upgrade python-fpm && pyfpm upgrade"))
@format_option()
@click.pass_context
def upgrade(ctx: click.Context, form: str) -> None:
    """Replace the running daemon with the installed version.

    No connection is lost, and the pid stays. Workers keep the old version until the next `pyfpm reload`.
    """
    change = _Change(ctx.obj, form=form, verbose=True)
    ctx.exit(change.follow({"command": "upgrade"}, "upgrade failed, nothing has changed"))


class _Change:
    """One change that the master makes, and what is printed of it."""

    def __init__(self, options: Options, *, form: str, verbose: bool) -> None:
        self._path = options.control_path()
        self._form = form
        self._verbose = verbose
        self._progress = Progress()
        self._steps = ReloadSteps()

    def ask(self, request: dict[str, Any], failed: str) -> int:
        """Send a request that is answered at once; returns the exit status."""
        answer = ask(self._path, request)
        self._take(answer)
        return self._conclude(answer, failed)

    def follow(self, request: dict[str, Any], failed: str) -> int:
        """Send a request and wait for its outcome; returns the exit status."""
        with self._progress.every_second(self._words):
            answer = follow(self._path, request, self._take)
        status = self._conclude(answer, failed)
        if status == 0 and self._form == "text":
            if "version" in answer:
                inform(f"pyfpm {answer['version']} is running")
            elif not has_journal() and (summary := self._steps.summary()):
                inform(summary)
        return status

    def _words(self) -> str:
        return "" if self._verbose else self._steps.words(time.monotonic())

    def _take(self, message: dict[str, Any]) -> None:
        """Print the plan on standard output, and on standard error each step, or those that say why nothing goes on."""
        self._steps.take(message, time.monotonic())
        if has_journal() or self._form == "json":
            return  # the daemon's own log has the same; a program wants the result
        plan = message.get("plan", [])
        for line in plan if self._verbose else plan_words(plan):
            self._progress.erase()
            say(line)
        is_of_pools = "pool" in message or "swapped" in message
        if "plan" not in message and ("ok" not in message or "step" in message) and (self._verbose or not is_of_pools):
            self._progress.erase()
            inform(read_step(message))

    def _conclude(self, answer: dict[str, Any], failed: str) -> int:
        status = 0 if answer.get("ok") else int(answer.get("status", 1))
        if self._form == "json":
            told = ("version", "complaints", "traceback", "partial")
            print_json(
                {
                    "ok": status == 0,
                    "status": status,
                    "pools": list(self._steps.plan),
                    **{name: answer[name] for name in told if name in answer},
                }
            )
            return status
        if status == 0:
            return 0
        for complaint in answer.get("complaints", []):
            complain(f"pyfpm: {complaint}")
        if not has_journal():
            quote(str(answer.get("traceback") or ""))
        if answer.get("partial"):
            failed = "the other pools have been reloaded"
        complain(f"pyfpm: {failed}")
        return status
