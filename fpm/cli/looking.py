"""Asks the master for a snapshot, and the kernel for the CPU time of the workers in it."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterable

from fpm.cli.control_client import ask
from fpm.errors import ControlError
from fpm.status.snapshot import Snapshot
from fpm.status.snapshot import read_snapshot

_TICKS = os.sysconf("SC_CLK_TCK")


def look(path: str, pool: str | None = None, *, workers: bool) -> Snapshot:
    """The pools as they are now.

    Args:
        path: the control socket.
        pool: only this one.
        workers: each worker, too.

    Raises:
        ControlError: nobody answers, there is no such pool, or the master is of another version.
    """
    answer = ask(path, {"command": "snapshot", "pool": pool, "workers": workers})
    try:
        return read_snapshot(base64.b64decode(answer["snapshot"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ControlError(
            f"the master's answer cannot be read; it may be of another version (pyfpm upgrade): {error!r}"
        ) from error


def read_cpu_times(pids: Iterable[int]) -> dict[tuple[int, int], float]:
    """Seconds of CPU time of each process by pid and start time (proc_pid_stat(5)); none of those that are gone."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may itself hold blanks and parentheses.
            fields = file.read().rpartition(b")")[2].split()
            found[pid, int(fields[19])] = (int(fields[11]) + int(fields[12])) / _TICKS
    return found
