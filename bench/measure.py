"""What the kernel says about processes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """utime + stime of one process, without its children (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def pss_bytes(pid: int) -> int:
    """Proportional set size: shared pages are counted by parts."""
    return int(psutil.Process(pid).memory_full_info().pss)


def context_switches(pid: int) -> int:
    """How often the process has gone to sleep by itself, and so been woken."""
    return int(psutil.Process(pid).num_ctx_switches().voluntary)


def children(pid: int) -> list[int]:
    """Direct children."""
    return [child.pid for child in psutil.Process(pid).children()]


def session(leader: int) -> list[psutil.Process]:
    """The processes of a session (setsid(2)), also when its leader has ended."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(process.pid) == leader:
                found.append(process)
    return found


def wait_for(condition: Callable[[], bool], what: str, *, timeout: float = 20.0) -> None:
    """Poll until the condition holds.

    Raises:
        RuntimeError: after `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {timeout:g} s")
        time.sleep(0.02)
