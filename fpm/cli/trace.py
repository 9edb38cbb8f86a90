"""`pyfpm trace`: print the current stacks of workers and templates."""

from __future__ import annotations

from typing import Any

import click

from fpm.cli.options import Options
from fpm.cli.output import inform, print_page
from fpm.client.control import follow
from fpm.errors import EXIT_FAILED
from fpm.log.escape import escape

PIDS_SHOWN = 20


@click.command()
@click.argument("target", required=False, metavar="POOL|PID")
@click.option("--all", "everything", is_flag=True, help="All pools.")
@click.option("--idle", is_flag=True, help="Also show workers that are waiting for a request.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per line for each process, as in a slow log."
)
@click.option("--native", is_flag=True, help="Also show the frames of C functions.")
@click.option(
    "--locals",
    "values",
    type=click.Choice(["types", "values"]),
    is_flag=False,
    flag_value="values",
    default=None,
    help="Show local variables: their types, or (without an argument) their values, which may be secret.",
)
@click.option(
    "--depth", type=click.IntRange(1, 10000), help="Maximum frames per thread [default: request_slowlog_trace_depth]."
)
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
    """Print stacks of a worker, or of a pool's busy workers.

    Exit status 1: a stack could not be taken (its entry says why).
    """
    if (target is None) != everything:
        raise click.UsageError("give a POOL or a PID, or use --all.")
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
    """A printer for the master's messages, whose entries are already escaped, as in a slow log."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._is_first = True

    def take(self, message: dict[str, Any]) -> None:
        """Print one message."""
        if "entry" in message:
            entry = str(message["entry"])
            # An entry begins with an empty line; the first one is left out.
            print_page(entry.lstrip("\n") if self._is_first else entry, newline=False)
            self._is_first = False
        elif "quiet" in message:
            self._remark(f"pool {message['quiet']}: no worker is running")
        elif "idle" in message:
            pids = message["pids"]
            some = " ".join(map(str, pids[:PIDS_SHOWN])) + (" ..." if len(pids) > PIDS_SHOWN else "")
            count = f"{len(pids)} idle worker{'s' * (len(pids) != 1)}"
            self._remark(f"pool {message['idle']}: {count} ({some}); --idle shows their stacks")

    def _remark(self, text: str) -> None:
        # On standard error, so that standard output has entries only.
        inform(escape(text))
