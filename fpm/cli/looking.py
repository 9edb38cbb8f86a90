"""Asks the kernel for the CPU time of workers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

_TICKS = os.sysconf("SC_CLK_TCK")


def read_cpu_times(pids: Iterable[int]) -> dict[tuple[int, int], float]:
    """Seconds of CPU time of each process by pid and start time (proc_pid_stat(5)); none of those that are gone."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may itself hold blanks and parentheses.
            fields = file.read().rpartition(b")")[2].split()
            found[pid, int(fields[19])] = (int(fields[11]) + int(fields[12])) / _TICKS
    return found
