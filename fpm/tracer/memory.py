"""The memory of the process that is looked at."""

from __future__ import annotations

import os
import time

from fpm.tracer.binding import read_remotely

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
        """From now on there is so much time."""
        self._until = time.monotonic() + seconds

    def read(self, address: int, size: int) -> bytes:
        """That many bytes; fewer or none where there is no memory, no time left, or too much was read. Never raises."""
        if not 0 < address < ADDRESS_MAX - size or size <= 0 or size > self._left or time.monotonic() > self._until:
            return b""
        self._left -= size
        try:
            return os.pread(self._fd, size, address) if self._fd >= 0 else read_remotely(self._pid, address, size)
        except (OSError, OverflowError):
            return b""  # nothing is mapped there, or the process has ended

    def close(self) -> None:
        """Give it back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
