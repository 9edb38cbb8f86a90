"""Reads the resident size of a process, /proc/PID/statm (proc(5)): a few microseconds, whatever the process does."""

from __future__ import annotations

import os

PAGE = os.sysconf("SC_PAGE_SIZE")
RESIDENT = 1
"""Index of the resident pages."""
LINE_MAX = 256


def read_resident(pid: int) -> int:
    """Return the bytes that a process has in memory, with those that it shares; 0 if it has exited, or is hidden."""
    try:
        fd = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(os.read(fd, LINE_MAX).split()[RESIDENT]) * PAGE
    except (OSError, IndexError, ValueError):
        return 0
    finally:
        os.close(fd)
