"""The master's memfd to which one process of a pool writes its own stack (fpm.worker.self_dump).

Each process has one of its own, so a late answer is never taken for another process's. Any process of the pool can
write anything into it; no seals can be set on it (it was created without MFD_ALLOW_SEALING), so the master can always
empty it.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass

READ_MAX = 262144
"""Bytes to read at most: two dumps of 100 frames with texts of 500 characters each are smaller."""


@dataclass(slots=True)
class SelfDumpFd:
    """The file, and whether its process has said that it writes there on request."""

    fd: int
    listens: bool = False

    @classmethod
    def create(cls) -> SelfDumpFd:
        """Create an empty file.

        Raises:
            OSError: no descriptors or no memory left.
        """
        fd = os.memfd_create("pyfpm-stack", os.MFD_CLOEXEC)
        # Without O_APPEND, emptying it would have to reset the position, which all holders share.
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
        return cls(fd)

    @classmethod
    def restore(cls, fd: int, listens: bool) -> SelfDumpFd:
        """Take the descriptor over in an upgrade of pyfpm; -1: its process has exited."""
        if fd >= 0:
            os.set_inheritable(fd, False)
        return cls(fd, listens)

    def empty(self) -> None:
        """Empty the file before the next dump."""
        os.ftruncate(self.fd, 0)

    def read(self) -> bytes:
        """Read at most READ_MAX bytes."""
        return os.pread(self.fd, READ_MAX, 0)

    def close(self) -> None:
        """Close the descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
