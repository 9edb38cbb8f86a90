"""What /proc says about a process that is to be looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProcessState:
    """Of /proc/PID/stat, proc(5)."""

    state: str
    """R, S, D (uninterruptible), T (stopped by a signal), t (by a tracer), Z ..."""
    started: int
    """Clock ticks since boot: with the pid it names one process and no other."""

    @property
    def is_stopped(self) -> bool:
        """By SIGSTOP or the like."""
        return self.state == "T"

    @property
    def is_dead(self) -> bool:
        """It has ended and perhaps its parent has not learnt it yet."""
        return self.state in "ZXx"


def read_state(pid: int, tid: int | None = None) -> ProcessState | None:
    """Of a process, or one of its threads; None: there is none."""
    path = f"/proc/{pid}/stat" if tid is None else f"/proc/{pid}/task/{tid}/stat"
    try:
        with open(path, "rb", buffering=0) as file:
            # The name before it may contain anything, parentheses too.
            fields = file.read(4096).rpartition(b")")[2].split()
        return ProcessState(fields[0].decode(), int(fields[19]))
    except (OSError, ValueError, IndexError):
        return None


def read_threads(pid: int) -> list[int]:
    """The ids of a process's threads, its own first; [] if it is gone."""
    try:
        return sorted(map(int, os.listdir(f"/proc/{pid}/task")), key=lambda tid: (tid != pid, tid))
    except OSError:
        return []


def read_wait_channel(pid: int, tid: int) -> str:
    """The kernel's function in which a thread waits; "" if it is not told."""
    try:
        with open(f"/proc/{pid}/task/{tid}/wchan", "rb") as file:
            name = file.read(256).decode("ascii", "replace").strip()
    except OSError:
        return ""
    return "" if name == "0" else name
