"""`pyfpm stop` and `pyfpm reopen-logs`."""

from __future__ import annotations

import click

from fpm.cli.options import Options
from fpm.client.control import ask
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
