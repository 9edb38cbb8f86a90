"""The command line `pyfpm`, with php-fpm's flags and exit codes."""

from __future__ import annotations

import sys

import click

from fpm import __version__
from fpm.cli import commands, daemon, fastcgi_commands
from fpm.cli.options import CommandGroup, Options
from fpm.cli.output import complain, print_page, show_error
from fpm.cli.serve import serve
from fpm.cli.slow import slow
from fpm.cli.status import status
from fpm.cli.top import top
from fpm.cli.trace import trace
from fpm.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE, FpmError
from fpm.system.streams import flush_output

HELP = """FastCGI process manager for Python.

Without a command, php-fpm's flags apply: `pyfpm -y FILE -F` runs in the foreground, `pyfpm -y FILE -D` in the
background, `-t` tests the configuration, `-tt` also prints every value."""

STRICT = "Exit if a pool cannot start, instead of serving the others."


@click.group(
    cls=CommandGroup, invoke_without_command=True, help=HELP, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("-t", "--test", "tests", count=True, help="Test the configuration and exit; twice: print every value.")
@click.option("-F", "--nodaemonize", "foreground", is_flag=True, help="Stay in the foreground.")
@click.option("-D", "--daemonize", "background", is_flag=True, help="Go into the background.")
@click.version_option(__version__, "-v", "--version", prog_name="pyfpm")
@click.pass_context
def cli(ctx: click.Context, tests: int, foreground: bool, background: bool) -> None:
    """Handle php-fpm's flags for the case that there is no command; the help text is HELP."""
    options: Options = ctx.ensure_object(Options)
    if ctx.invoked_subcommand is not None:
        return
    if tests:
        ctx.exit(daemon.check(options, with_dump=tests > 1))
    if foreground and background:
        raise click.UsageError("-F and -D exclude each other.")
    if len(sys.argv) == 1:
        print_page(ctx.get_help())
        ctx.exit(EXIT_USAGE)
    in_background = background or (not foreground and options.load().global_.daemonize)
    ctx.exit(daemon.run_daemon(options) if in_background else daemon.run_foreground(options))


@cli.command()
@click.option("--strict", is_flag=True, help=STRICT)
@click.pass_context
def run(ctx: click.Context, strict: bool) -> None:
    """Run in the foreground (systemd, containers)."""
    ctx.exit(daemon.run_foreground(ctx.obj, strict=strict))


@cli.command()
@click.option("--strict", is_flag=True, help=STRICT)
@click.pass_context
def start(ctx: click.Context, strict: bool) -> None:
    """Run in the background; return when all pools are ready."""
    ctx.exit(daemon.run_daemon(ctx.obj, strict=strict))


@cli.command(hidden=True)
@click.option("--background", is_flag=True, hidden=True)
@click.option("--check", is_flag=True, hidden=True)
@click.pass_context
def resume(ctx: click.Context, background: bool, check: bool) -> None:
    """Continue where the old program of an upgrade stopped; internal."""
    ctx.exit(daemon.resume(ctx.obj, background=background, check_only=check))


@cli.command()
@click.option("--dump", is_flag=True, help="Print every effective value.")
@click.pass_context
def test(ctx: click.Context, dump: bool) -> None:
    """Check the whole configuration, and whether stacks can be taken on this machine; nothing is changed."""
    ctx.exit(daemon.check(ctx.obj, with_dump=dump))


for command in (commands.stop, commands.reload, commands.rollback, commands.upgrade, commands.reopen_logs, status, top):
    cli.add_command(command)
cli.add_command(fastcgi_commands.ping)
cli.add_command(fastcgi_commands.request)
cli.add_command(serve)
cli.add_command(trace)
cli.add_command(slow)


def main() -> None:
    """Run the console script: an error of ours becomes a message and an exit status of sysexits.h."""
    try:
        status = _run()
    except OSError:
        if not _report_output():
            raise
        status = EXIT_FAILED
    if _report_output():
        status = status or EXIT_FAILED
    sys.exit(status)


def _run() -> int:
    try:
        status = cli.main(prog_name="pyfpm", standalone_mode=False)
    except click.UsageError as error:
        show_error(error)
        status = EXIT_USAGE
    except click.ClickException as error:
        show_error(error)
        status = EXIT_FAILED
    except click.Abort:
        status = EXIT_FAILED
    except FpmError as error:
        for line in str(error).split("\n"):
            complain(f"pyfpm: {line}")
        status = error.exit_status
    return status if isinstance(status, int) else EXIT_OK


def _report_output() -> bool:
    """Say why our output cannot be written, if so; a reader that has left early (`| head`) needs no word."""
    error = flush_output()
    if error is not None and not isinstance(error, BrokenPipeError):
        complain(f"pyfpm: the output cannot be written: {error.strerror}")
    return error is not None
