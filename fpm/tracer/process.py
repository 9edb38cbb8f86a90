"""What /proc says about a process that is to be looked at."""

from __future__ import annotations

import os
import time

from fpm.frozen import dataclass
from fpm.system.proc_stat import STARTED, STATE, read_stat
from fpm.tracer.binding import read_remotely


@dataclass(frozen=True, slots=True)
class ProcessState:
    """Of /proc/PID/stat, proc(5)."""

    state: str
    """R, S, D (uninterruptible), T (stopped by a signal), t (by a tracer), Z ..."""
    started: int
    """Clock ticks since boot: with the pid it names one process and no other."""

    @property
    def is_stopped(self) -> bool:
        """Whether a signal such as SIGSTOP has stopped it."""
        return self.state == "T"

    @property
    def is_dead(self) -> bool:
        """Whether it has ended, though its parent may not have learnt it yet."""
        return self.state in "ZXx"


def read_state(pid: int, tid: int | None = None) -> ProcessState | None:
    """Read the state of a process, or of one of its threads; None: there is none."""
    path = f"/proc/{pid}/stat" if tid is None else f"/proc/{pid}/task/{tid}/stat"
    try:
        fields = read_stat(path)
        return ProcessState(fields[STATE].decode(), int(fields[STARTED]))
    except (OSError, ValueError, IndexError):
        return None


def read_threads(pid: int) -> list[int]:
    """List the ids of a process's threads, its own first; [] if it is gone."""
    try:
        return sorted(map(int, os.listdir(f"/proc/{pid}/task")), key=lambda tid: (tid != pid, tid))
    except OSError:
        return []


def read_wait_channel(pid: int, tid: int) -> str:
    """Read the kernel's function in which a thread waits; "" if it is not shown."""
    try:
        with open(f"/proc/{pid}/task/{tid}/wchan", "rb") as file:
            name = file.read(256).decode("ascii", "replace").strip()
    except OSError:
        return ""
    return "" if name == "0" else name


ADDRESS_MAX = 1 << 63
"""pread(2) takes an address as a signed number."""
BYTES_MAX = 64 << 20
READ_TIME = 0.25
"""Seconds after which a stopped process is kept no longer, whatever is left to read."""


class ProcessMemory:
    """Reads what lies at an address, as long as there is time and the amount has bounds.

    It is opened before the process is stopped and before rights are given up; it stays usable afterwards. Should the
    process execute another program, it reads nothing any more: what was opened is the former memory.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._left = BYTES_MAX
        self._until = 0.0
        try:
            self._fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            # The file's own permissions want its user or root; process_vm_readv(2) asks only whether we may trace.
            self._fd = -1

    def begin(self, seconds: float = READ_TIME) -> None:
        """Allow reading for so many seconds from now on."""
        self._until = time.monotonic() + seconds

    def read(self, address: int, size: int) -> bytes:
        """Read that many bytes; fewer or none where there is no memory, no time is left, or too much was read."""
        if not 0 < address < ADDRESS_MAX - size or size <= 0 or size > self._left or time.monotonic() > self._until:
            return b""
        self._left -= size
        try:
            return os.pread(self._fd, size, address) if self._fd >= 0 else read_remotely(self._pid, address, size)
        except (OSError, OverflowError):
            return b""  # nothing is mapped there, or the process has ended

    def close(self) -> None:
        """Close the memory file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
