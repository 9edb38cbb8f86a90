"""`pyfpm trace`: the stacks of what runs now."""

from __future__ import annotations

from typing import Any

import click

from fpm.cli.options import Options
from fpm.client.control import follow
from fpm.errors import EXIT_FAILED
from fpm.log.escape import escape

PIDS_SHOWN = 20


@click.command()
@click.argument("target", required=False, metavar="POOL|PID")
@click.option("--all", "everything", is_flag=True, help="All pools.")
@click.option("--idle", is_flag=True, help="Also the workers that wait for a request.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each process, as in a slow log.")
@click.option("--native", is_flag=True, help="The frames of C functions, too.")
@click.option(
    "--locals",
    "values",
    type=click.Choice(["types", "values"]),
    is_flag=False,
    flag_value="values",
    default=None,
    help="Local variables: their types, or (without an argument) their values, which may be secret.",
)
@click.option("--depth", type=click.IntRange(1, 10000), help="Frames of each thread; else request_slowlog_trace_depth.")
@click.pass_context
def trace(
    ctx: click.Context,
    target: str | None,
    everything: bool,
    idle: bool,
    as_json: bool,
    native: bool,
    values: str | None,
    depth: int | None,
) -> None:
    """What a worker, or all of a pool that are busy, do at this moment: their stacks.

    Exit status 1: a stack could not be taken (its entry says why).
    """
    if (target is None) != everything:
        raise click.UsageError("name a pool or a process, or say --all.")
    options: Options = ctx.obj
    request = {
        "command": "trace",
        "target": target,
        "idle": idle,
        "format": "json" if as_json else "text",
        "native": native,
        "values": values or "",
        "depth": depth,
    }
    shown = _Shown(as_json)
    answer = follow(options.control_path(), request, shown.take)
    if answer.get("failed"):
        ctx.exit(EXIT_FAILED)


class _Shown:
    """Prints what comes; the entries are escaped by the master already, as in a slow log."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._is_first = True

    def take(self, message: dict[str, Any]) -> None:
        """One message of the master's."""
        if "entry" in message:
            entry = str(message["entry"])
            # An entry begins with an empty line, which on a terminal only stands between two.
            click.echo(entry.lstrip("\n") if self._is_first else entry, nl=False)
            self._is_first = False
        elif "quiet" in message:
            self._remark(f"pool {message['quiet']}: no worker runs")
        elif "idle" in message:
            pids = message["pids"]
            some = " ".join(map(str, pids[:PIDS_SHOWN])) + (" ..." if len(pids) > PIDS_SHOWN else "")
            count = f"{len(pids)} idle worker{'s' * (len(pids) != 1)}"
            self._remark(f"pool {message['idle']}: {count} ({some}); --idle shows their stacks")

    def _remark(self, text: str) -> None:
        # Not among the entries: a program that reads them wants nothing else.
        click.echo(escape(text), err=True)
