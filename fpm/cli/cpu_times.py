"""Reads the CPU time of workers from the kernel."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from fpm.system.proc_stat import STARTED, SYSTEM_TIME, USER_TIME, read_stat

_TICKS = os.sysconf("SC_CLK_TCK")


def read_cpu_times(pids: Iterable[int]) -> dict[tuple[int, int], float]:
    """Return each process's seconds of CPU time by pid and start time (proc_pid_stat(5)), without exited ones."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = read_stat(f"/proc/{pid}/stat")
            found[pid, int(fields[STARTED])] = (int(fields[USER_TIME]) + int(fields[SYSTEM_TIME])) / _TICKS
    return found
