"""Reads the kernel's line about a process or a thread, /proc/PID/stat (proc_pid_stat(5))."""

from __future__ import annotations

import os

# Indices into read_stat()'s result; proc_pid_stat(5) counts from 1 and has pid and name before them.
STATE = 0
PARENT = 1
GROUP = 2
SESSION = 3
USER_TIME = 11
"""Clock ticks, as is SYSTEM_TIME."""
SYSTEM_TIME = 12
STARTED = 19
"""Clock ticks since boot; with the pid it identifies one process."""
ARGUMENTS = 45
"""Index of arg_start; arg_end, env_start and env_end follow it."""

LINE_MAX = 4096


def parent_of(pid: int) -> int:
    """Return the parent of a process; 0 if it is gone."""
    try:
        return int(read_stat(f"/proc/{pid}/stat")[PARENT])
    except (OSError, ValueError, IndexError):
        return 0


def read_stat(path: str) -> list[bytes]:
    """Return the fields from the state on; fewer or none for a process that is exiting.

    Raises:
        OSError: it has exited, or is hidden.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # The name in parentheses may itself contain spaces and parentheses.
        return os.read(fd, LINE_MAX).rpartition(b")")[2].split()
    finally:
        os.close(fd)
