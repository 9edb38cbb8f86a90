"""`pyfpm trace`: print the current stacks of workers and templates."""

from __future__ import annotations

from typing import Any

import click

from fpm.cli.options import Options, examples, format_option
from fpm.cli.output import inform, print_page
from fpm.client.control import follow
from fpm.errors import EXIT_FAILED
from fpm.log.escape import escape
from fpm.stacks.text.fold import fold_entry

PIDS_SHOWN = 20


@click.command(epilog=examples("pyfpm trace shop", "pyfpm trace 4711 --locals", "pyfpm trace --all --idle"))
@click.argument("target", required=False, metavar="POOL|PID")
@click.option("--all", "everything", is_flag=True, help="All pools.")
@click.option("--idle", is_flag=True, help="Also show workers that are waiting for a request.")
@click.option("--full", is_flag=True, help="Show every frame, those of libraries, too.")
@format_option()
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
    full: bool,
    form: str,
    native: bool,
    values: str | None,
    depth: int | None,
) -> None:
    """Show where the code of workers is now: their stacks.

    For a POOL these are its busy workers, the longest-running request first.

    Exit status 1: a stack could not be taken (its entry says why).
    """
    if (target is None) != everything:
        raise click.UsageError("give a POOL or a PID, or use --all.")
    options: Options = ctx.obj
    request = {
        "command": "trace",
        "target": target,
        "idle": idle,
        "format": form,
        "native": native,
        "values": values or "",
        "depth": depth,
    }
    shown = _Shown(folded=not (full or native or form == "json"))
    answer = follow(options.control_path(), request, shown.take)
    if answer.get("failed"):
        ctx.exit(EXIT_FAILED)


class _Shown:
    """A printer for the master's messages, whose entries are already escaped, as in a slow log."""

    def __init__(self, *, folded: bool) -> None:
        self._folded = folded
        self._is_first = True

    def take(self, message: dict[str, Any]) -> None:
        """Print one message."""
        if "entry" in message:
            entry = str(message["entry"])
            entry = fold_entry(entry) if self._folded else entry
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
