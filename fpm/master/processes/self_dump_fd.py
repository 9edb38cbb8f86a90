"""The memfd to which one process of a pool writes its own stack (fpm.worker.self_dump), as the master holds it.

Each process has one of its own, so that an answer that comes late is never taken for another process's. Any process of
the pool can write anything into it; no seals can be set on it (it was made without MFD_ALLOW_SEALING), so the master
can always empty it.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass

READ_MAX = 262144
"""Bytes that are read: two dumps of 100 frames with texts of 500 characters each have fewer."""


@dataclass(slots=True)
class OwnStack:
    """The file, and whether its process has said that it writes there when it is asked."""

    fd: int
    listens: bool = False

    @classmethod
    def create(cls) -> OwnStack:
        """Make an empty one.

        Raises:
            OSError: no descriptors or no memory left.
        """
        fd = os.memfd_create("pyfpm-stack", os.MFD_CLOEXEC)
        # Whoever empties it need not set the position back, which all who hold it share.
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
        return cls(fd)

    @classmethod
    def restore(cls, fd: int, listens: bool) -> OwnStack:
        """After an upgrade of pyfpm; -1: its process has gone."""
        if fd >= 0:
            os.set_inheritable(fd, False)
        return cls(fd, listens)

    def empty(self) -> None:
        """Forget what was written."""
        os.ftruncate(self.fd, 0)

    def read(self) -> bytes:
        """What has been written since, at most READ_MAX bytes."""
        return os.pread(self.fd, READ_MAX, 0)

    def close(self) -> None:
        """Give the descriptor back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
