"""What /proc says about a process that is to be looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass

from fpm.system.proc_stat import STARTED, STATE, read_stat


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
        fields = read_stat(path)
        return ProcessState(fields[STATE].decode(), int(fields[STARTED]))
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
