"""Small files of the kernel's (proc(5), cgroups(7)): read at once, without waiting, or not there."""

from __future__ import annotations

import os

FILE_MAX = 65536


def read_kernel_file(path: str) -> bytes | None:
    """The contents, up to FILE_MAX bytes; None if the file is not there or not for us (a container may hide it)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return os.read(fd, FILE_MAX)
    except OSError:  # ENODEV: the cgroup has been removed meanwhile; ESRCH: the process has ended
        return None
    finally:
        os.close(fd)
