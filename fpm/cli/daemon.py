"""`pyfpm run`, `start` and `test`: the commands that read the configuration themselves."""

from __future__ import annotations

import os
import sys

import click

from fpm.cli.options import Options
from fpm.cli.output import complain, inform, say
from fpm.cli.probe import stack_notices
from fpm.config.dump import dump
from fpm.config.model import Config, GlobalConfig
from fpm.errors import EXIT_FAILED, EXIT_OK, FpmError, StartError
from fpm.log.error import ErrorLog
from fpm.log.escape import escape_lines
from fpm.log.lines import INDENT
from fpm.master.master import Master
from fpm.master.pool.supervisor import PoolSupervisor
from fpm.master.setup import Setup
from fpm.master.upgrade.handover import VARIABLE, unpack
from fpm.system.daemonize import StartReport, daemonize

SYSLOG = "syslog"
STRICT = "Exit if a pool cannot start, instead of serving the others."


@click.command()
@click.option("--strict", is_flag=True, help=STRICT)
@click.pass_context
def run(ctx: click.Context, strict: bool) -> None:
    """Run in the foreground (systemd, containers)."""
    ctx.exit(run_foreground(ctx.obj, strict=strict))


@click.command()
@click.option("--strict", is_flag=True, help=STRICT)
@click.pass_context
def start(ctx: click.Context, strict: bool) -> None:
    """Run in the background; return when all pools are ready."""
    ctx.exit(run_daemon(ctx.obj, strict=strict))


@click.command(hidden=True)
@click.option("--background", is_flag=True, hidden=True)
@click.option("--check", is_flag=True, hidden=True)
@click.pass_context
def resume(ctx: click.Context, background: bool, check: bool) -> None:
    """Continue where the old program of an upgrade stopped; internal."""
    ctx.exit(resume_master(ctx.obj, background=background, check_only=check))


@click.command()
@click.option("--dump", is_flag=True, help="Print every effective value.")
@click.pass_context
def test(ctx: click.Context, dump: bool) -> None:
    """Check the whole configuration, and whether stacks can be taken on this machine; nothing is changed."""
    ctx.exit(check(ctx.obj, with_dump=dump))


def run_foreground(options: Options, *, strict: bool = False) -> int:
    """Become the master.

    Args:
        strict: exit if a pool cannot start.

    Returns:
        The exit status.

    Raises:
        FpmError: the configuration is wrong, or the start fails.
    """
    config = options.load()
    log = _foreground_log(options, config)
    return Master(
        config,
        log,
        Setup(
            environ=dict(os.environ),
            load=options.load,
            on_ready=_nothing,
            strict=strict,
            arguments=[*options.arguments(), "resume"],
        ),
    ).run()


def run_daemon(options: Options, *, strict: bool = False) -> int:
    """Go into the background; the calling process exits when all pools are ready, or with the reason why not.

    Args:
        strict: exit if a pool cannot start.

    Returns:
        The exit status of the master, in the background process.

    Raises:
        FpmError: the configuration is wrong.
    """
    config = options.load()
    path = config.global_.error_log or SYSLOG
    log = open_log(config.global_, path)
    report = daemonize()
    return _run_reported(options, config, log, report, strict=strict, has_log=not log.find_gap())


def _run_reported(
    options: Options, config: Config, log: ErrorLog, report: StartReport, *, strict: bool, has_log: bool
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
            report.failed(EXIT_FAILED, f"pyfpm: started, but these pools have failed{where}: {names}{reasons}")
        else:
            report.ready()
        log.take_stderr()

    master = Master(
        config,
        log,
        Setup(
            environ=dict(os.environ),
            load=options.load,
            on_ready=on_ready,
            strict=strict,
            arguments=[*options.arguments(), "resume", "--background"],
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


def resume_master(options: Options, *, background: bool, check_only: bool) -> int:
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
    config = options.load()
    if dump(config) != handed["dump"]:
        raise StartError("this version reads the configuration differently from the running one; restart instead")
    if check_only:
        return EXIT_OK
    os.close(fd)
    log = (
        open_log(config.global_, config.global_.error_log or SYSLOG) if background else _foreground_log(options, config)
    )
    if background:
        log.take_stderr()
    return Master(
        config,
        log,
        Setup(
            environ=dict(os.environ),
            load=options.load,
            on_ready=_nothing,
            arguments=[*options.arguments(), "resume", *(["--background"] if background else [])],
            handed=handed,
        ),
    ).run()


def _foreground_log(options: Options, config: Config) -> ErrorLog:
    # PHP-FPM's rule: in the foreground on a terminal, or with -O, the log goes to standard error.
    sees_log = options.force_stderr or sys.stderr.isatty()
    return open_log(config.global_, None if sees_log else config.global_.error_log)


def _nothing(failed: list[str]) -> None:
    """Report nothing: in the foreground the log has everything."""


def open_log(settings: GlobalConfig, path: str | None) -> ErrorLog:
    """Open the error log of these settings at `path` (None: standard error); say if nobody will read it."""
    log = ErrorLog(
        path,
        level=settings.log_level,
        limit=settings.log_limit,
        ident=settings.syslog_ident,
        facility=settings.syslog_facility,
        journal_stream=os.environ.get("JOURNAL_STREAM", ""),
    )
    gap = log.find_gap()
    if gap:
        complain(f"pyfpm: the daemon has no log, because {gap}. Write error_log = PATH in [global]")
    return log


def check(options: Options, *, with_dump: bool) -> int:
    """Read, check and report, for `pyfpm test`; short-lived processes try whether ptrace works.

    Raises:
        ConfigError: with every error, and all that a pool lacks on this machine.
    """
    config = options.check()
    if with_dump:
        for line in dump(config):
            say(line)
    for notice in config.notices:
        inform(f"NOTICE: {notice}")
    for line in stack_notices(config):
        inform(line)
    inform(f"NOTICE: configuration file {options.file} test is successful")
    return EXIT_OK
