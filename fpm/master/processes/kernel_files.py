"""Reads the kernel's small files (proc(5), cgroups(7)), which never block but may be missing."""

from __future__ import annotations

import os

FILE_MAX = 65536


def read_kernel_file(path: str) -> bytes | None:
    """Read up to FILE_MAX bytes; return None if the file is missing or hidden, as in a container."""
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
