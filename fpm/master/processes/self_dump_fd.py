"""The master's memfd to which one process of a pool writes its own stack (fpm.worker.self_dump).

Each process has one of its own, so a late answer is never taken for another process's. Any process of the pool can
write anything into it, and hold its locks as long as it likes: so the master only reads at positions (pread(2)), which
takes no lock of the inode, and neither empties it nor asks for its size. The process itself empties it.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass

from fpm.protocol.spec import STACK_MAX

READ_MAX = STACK_MAX
"""Bytes to read at most: two dumps of 100 frames with texts of 500 characters each are smaller."""
PASSED_MAX = 16
"""Times READ_MAX: with more before the next answer, its process has not emptied it as it should."""


@dataclass(slots=True)
class SelfDumpFd:
    """The file, and whether its process has said that it writes there on request."""

    fd: int
    listens: bool = False
    _begin: int = 0
    """Where what is written next begins."""

    @classmethod
    def create(cls) -> SelfDumpFd:
        """Create an empty file.

        Raises:
            OSError: no descriptors or no memory left.
        """
        fd = os.memfd_create("pyfpm-stack", os.MFD_CLOEXEC)
        # Without O_APPEND, whoever empties it would have to reset the position, which all holders share.
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
        return cls(fd)

    @classmethod
    def restore(cls, fd: int, listens: bool) -> SelfDumpFd:
        """Take the descriptor over in an upgrade of pyfpm; -1: its process has exited."""
        if fd >= 0:
            os.set_inheritable(fd, False)
        return cls(fd, listens)

    def pass_over(self) -> bool:
        """Pass over what there is before the next dump; False if that is too much to be a few dumps."""
        for _ in range(PASSED_MAX):
            data = self.read()
            if not data:
                return True
            self._begin += len(data)
        return False

    def read(self) -> bytes:
        """Read at most READ_MAX bytes of what has been written since."""
        if self._begin and not os.pread(self.fd, 1, self._begin - 1):
            self._begin = 0  # its process has emptied it
        return os.pread(self.fd, READ_MAX, self._begin)

    def close(self) -> None:
        """Close the descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
