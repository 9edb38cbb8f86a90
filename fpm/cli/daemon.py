"""`pyfpm run`, `start` and `test`: the commands that read the configuration themselves."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from fpm.cli.options import examples, format_option
from fpm.cli.output import complain, print_json
from fpm.cli.progress import Progress
from fpm.cli.waiting_for import start_words
from fpm.cli.without_file import Source, choose_source, take_options
from fpm.client.control import fetch_snapshot
from fpm.config.model import Config, GlobalConfig
from fpm.errors import EXIT_FAILED, EXIT_OK, ControlError, FpmError
from fpm.log.error import ErrorLog
from fpm.log.escape import escape_lines
from fpm.log.lines import INDENT
from fpm.master.master import Master
from fpm.master.pool.supervisor import PoolSupervisor
from fpm.master.setup import Setup
from fpm.master.upgrade.handed import check_handed
from fpm.master.upgrade.handover import VARIABLE, keep_reading, take_reading, unpack
from fpm.system.daemonize import Outcome, StartReport, daemonize, print_problem

SYSLOG = "syslog"
STRICT = "Exit if a pool cannot start, instead of serving the others."


@click.command(epilog=examples("pyfpm run", "pyfpm run --app shop.wsgi:application --listen 9000 --workers 8"))
@click.option("--strict", is_flag=True, help=STRICT)
@take_options
@click.pass_context
def run(ctx: click.Context, /, strict: bool, **values: Any) -> None:
    """Run in the foreground (systemd, containers).

    With --app there is no file: options describe one pool, and PYFPM_* variables, such as PYFPM_APP and
    PYFPM_PM_MAX_CHILDREN, what the options leave out.
    """
    ctx.exit(run_foreground(choose_source(ctx.obj, values), strict=strict))


@click.command(epilog=examples("pyfpm start"))
@click.option("--strict", is_flag=True, help=STRICT)
@format_option()
@click.pass_context
def start(ctx: click.Context, strict: bool, form: str) -> None:
    """Run in the background; return when all pools are ready."""
    ctx.exit(run_daemon(ctx.obj, strict=strict, conclude=_print_outcome if form == "json" else print_problem))


def _print_outcome(outcome: Outcome) -> None:
    complaints = [line.removeprefix("pyfpm: ") for line in outcome.text.splitlines()]
    print_json({"ok": outcome.status == 0, "status": outcome.status, "pid": outcome.pid, "complaints": complaints})
    sys.stdout.flush()  # the process ends without it


@click.command(hidden=True)
@click.option("--background", is_flag=True, hidden=True)
@click.option("--check", is_flag=True, hidden=True)
@take_options
@click.pass_context
def resume(ctx: click.Context, /, background: bool, check: bool, **values: Any) -> None:
    """Continue where the old program of an upgrade stopped.

    Only `pyfpm upgrade` calls it.
    """
    ctx.exit(resume_master(choose_source(ctx.obj, values), background=background, check_only=check))


def run_foreground(source: Source, *, strict: bool = False) -> int:
    """Become the master.

    Args:
        strict: exit if a pool cannot start.

    Returns:
        The exit status.

    Raises:
        FpmError: the configuration is wrong, or the start fails.
    """
    config = source.load()
    log = _foreground_log(source, config)
    return Master(
        config,
        log,
        Setup(
            environ=dict(os.environ),
            load=source.load,
            on_ready=_nothing,
            strict=strict,
            arguments=_resuming(source),
        ),
    ).run()


def run_daemon(source: Source, *, strict: bool = False, conclude: Callable[[Outcome], None] = print_problem) -> int:
    """Go into the background; the calling process exits when all pools are ready, or with the reason why not.

    Args:
        strict: exit if a pool cannot start.
        conclude: called in the calling process at the end.

    Returns:
        The exit status of the master, in the background process.

    Raises:
        FpmError: the configuration is wrong.
    """
    config = source.load()
    path = config.global_.error_log or SYSLOG
    log = open_log(config.global_, path)
    progress, control = Progress(), config.global_.control

    def look() -> None:
        try:
            progress.show(start_words(fetch_snapshot(control, workers=False).pools))
        except ControlError:
            return  # its control socket comes with its pools

    report = daemonize(look, conclude)
    return _run_reported(source, config, log, report, strict=strict, has_log=not log.find_gap())


def _run_reported(
    source: Source, config: Config, log: ErrorLog, report: StartReport, *, strict: bool, has_log: bool
) -> int:
    refusal = ""

    def on_ready(failed: list[str]) -> None:
        nonlocal refusal
        names = ", ".join(failed)
        reasons = "" if has_log else _reasons([master.pools[name] for name in failed])
        if failed and strict:
            refusal = f"pyfpm: not started, these pools have failed: {names}{reasons}"  # reported after the cleanup
            return
        if failed:
            where = " (see the log)" if has_log else ""
            report.ready(EXIT_FAILED, f"pyfpm: started, but these pools have failed{where}: {names}{reasons}")
        else:
            report.ready()
        log.take_stderr()

    master = Master(
        config,
        log,
        Setup(
            environ=dict(os.environ),
            load=source.load,
            on_ready=on_ready,
            strict=strict,
            arguments=_resuming(source, "--background"),
        ),
    )
    try:
        status = master.run()
        if refusal:
            report.failed(status, refusal)
        return status
    except FpmError as error:
        log.alert(str(error))
        report.failed(error.exit_status, escape_lines(f"pyfpm: {error}"))
        return error.exit_status


def _reasons(failed: list[PoolSupervisor]) -> str:
    """Return the errors and tracebacks of pools as indented lines, each on a line of its own."""
    text = ""
    for pool in failed:
        failure = pool.failures.failure
        if failure is not None:
            text += f"\npool {pool.config.name}: {failure.error}\n{failure.traceback}".rstrip("\n")
    return escape_lines(text).replace("\n", f"\n{INDENT}")


def resume_master(source: Source, *, background: bool, check_only: bool) -> int:
    """Continue where the old program of an upgrade stopped; only `pyfpm upgrade` executes this.

    Args:
        background: the daemon runs in the background.
        check_only: only check whether it would work; nothing is changed.

    Returns:
        The exit status.

    Raises:
        FpmError: the configuration is wrong, or the inherited state cannot be read.
    """
    fd = int(os.environ.pop(VARIABLE, "-1"))
    handed = unpack(fd)
    reading = handed.get("reading", -1)
    config = None if check_only or reading < 0 else take_reading(reading)
    if config is None:
        config = source.load()
        check_handed(handed, config)
    if check_only:
        if reading >= 0:
            keep_reading(reading, config)
        return EXIT_OK
    os.close(fd)
    log = _background_log(config) if background else _foreground_log(source, config)
    return Master(
        config,
        log,
        Setup(
            environ=dict(os.environ),
            load=source.load,
            on_ready=_nothing,
            arguments=_resuming(source, *(["--background"] if background else [])),
            handed=handed,
        ),
    ).run()


def _background_log(config: Config) -> ErrorLog:
    log = open_log(config.global_, config.global_.error_log or SYSLOG)
    log.take_stderr()
    return log


def _foreground_log(source: Source, config: Config) -> ErrorLog:
    # PHP-FPM's rule: in the foreground on a terminal, or with -O, the log goes to standard error.
    sees_log = source.force_stderr or sys.stderr.isatty()
    return open_log(config.global_, None if sees_log else config.global_.error_log)


def _resuming(source: Source, *words: str) -> list[str]:
    return [*source.arguments(), "resume", *source.command_arguments(), *words]


def _nothing(failed: list[str]) -> None:
    """Report nothing: in the foreground the log has everything."""


def open_log(settings: GlobalConfig, path: str | None) -> ErrorLog:
    """Open the error log of these settings at `path` (None: standard error); say if nobody will read it."""
    # Where a master was that crashes, or that systemd's watchdog aborts because it hangs.
    faulthandler.enable(file=2)
    log = ErrorLog(
        path,
        level=settings.log_level,
        limit=settings.log_limit,
        form=settings.log_format,
        ident=settings.syslog_ident,
        facility=settings.syslog_facility,
        journal_stream=os.environ.get("JOURNAL_STREAM", ""),
    )
    gap = log.find_gap()
    if gap:
        complain(f"pyfpm: the daemon has no log, because {gap}. Write error_log = PATH in [global]")
    return log
