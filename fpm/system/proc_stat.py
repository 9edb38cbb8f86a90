"""The kernel's line about a process or a thread, /proc/PID/stat (proc(5))."""

from __future__ import annotations

import os

# Places in what read_stat() returns; proc(5) counts from 1 and has pid and name before them.
STATE = 0
PARENT = 1
SESSION = 3
USER_TIME = 11
"""Clock ticks, as is SYSTEM_TIME."""
SYSTEM_TIME = 12
STARTED = 19
"""Clock ticks since boot: with the pid it names one process and no other."""
ARGUMENTS = 45
"""arg_start, arg_end, env_start and env_end stand side by side."""

LINE_MAX = 4096


def read_stat(path: str) -> list[bytes]:
    """The fields from the state on; too few of them, or none, of a process that is just ending.

    Raises:
        OSError: it is gone, or hidden.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # The name in parentheses may itself hold blanks and parentheses.
        return os.read(fd, LINE_MAX).rpartition(b")")[2].split()
    finally:
        os.close(fd)
