"""The command line `pyfpm`, with php-fpm's flags and exit codes."""

from __future__ import annotations

import sys

import click

from fpm import __version__
from fpm.cli.options import CommandGroup, Groups, Options
from fpm.cli.output import complain, print_page, show_error
from fpm.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE, FpmError
from fpm.system.streams import flush_output

HELP = """FastCGI process manager for Python.

Without a command, php-fpm's flags apply: `pyfpm -y FILE -F` runs in the foreground, `pyfpm -y FILE -D` in the
background, `-t` tests the configuration, `-tt` also prints every value."""
EPILOG = "`pyfpm COMMAND --help` has examples; `man pyfpm` and `man pyfpm.conf` say everything."

DAEMON, MASTER, PROGRAM = "fpm.cli.daemon", "fpm.cli.commands", "fpm.cli.fastcgi_commands"

COMMANDS: Groups = {
    "Run": {
        "init": ("fpm.cli.init", "Write a pool file and a web server's site for a project."),
        "run": (DAEMON, "Run in the foreground (systemd, containers)."),
        "start": (DAEMON, "Run in the background; return when all pools are ready."),
        "stop": (MASTER, "Stop the daemon and wait until it has exited."),
        "test": ("fpm.cli.check", "Check the configuration; nothing is changed."),
        "doctor": ("fpm.cli.doctor", "Say what would go wrong here, and how to fix it."),
        "setup": ("fpm.cli.setup", "Prepare this machine: directories, units, pages."),
    },
    "Deploy": {
        "reload": (MASTER, "Check new code and configuration, then serve with them."),
        "convert": ("fpm.cli.convert", "Print the configuration of another server as a pool file."),
        "rollback": (MASTER, "Return a pool to its previous generation."),
        "reopen-logs": (MASTER, "Reopen all log files after they have been moved."),
        "upgrade": (MASTER, "Replace the running daemon with the installed version."),
    },
    "Look": {
        "status": ("fpm.cli.status", "Show the state of the pools."),
        "top": ("fpm.cli.top", "Show continuously what pools and workers are doing."),
        "list": ("fpm.cli.pools", "List the pools of the configuration."),
        "config": ("fpm.cli.pools", "Show a pool's values, and where each comes from."),
        "explain": ("fpm.cli.explain", "Say what is wrong with a pool, since when, for whom and why."),
        "trace": ("fpm.cli.trace", "Show where the code of workers is now: their stacks."),
        "logs": ("fpm.cli.logs", "Show error, access and slow logs together."),
        "slow": ("fpm.cli.slow", "Show where the time of slow requests goes."),
        "version": ("fpm.cli.version", "Print the versions of what is installed."),
        "ping": (PROGRAM, "Check that a pool answers, for container probes."),
    },
    "Develop": {
        "serve": ("fpm.cli.serve", "Serve one application over HTTP, without any file."),
        "request": (PROGRAM, "Send one request over FastCGI and print the response."),
    },
    "": {"resume": (DAEMON, "Continue where the old program of an upgrade stopped.")},
}
"""The commands by group: the module of each, and the first sentence of its help. The group "" is not shown.

The help of `pyfpm` itself imports none of them: a monitor asks often, and what a master needs takes it two thirds of
the time to load.
"""


@click.group(
    cls=CommandGroup,
    groups=COMMANDS,
    invoke_without_command=True,
    help=HELP,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
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
    from fpm.cli import check, daemon  # with all of the master: see COMMANDS

    if tests:
        ctx.exit(check.check(options, with_dump=tests > 1))
    if foreground and background:
        raise click.UsageError("-F and -D exclude each other.")
    if len(sys.argv) == 1:
        print_page(ctx.get_help())
        ctx.exit(EXIT_USAGE)
    in_background = background or (not foreground and options.load().global_.daemonize)
    ctx.exit(daemon.run_daemon(options) if in_background else daemon.run_foreground(options))


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
