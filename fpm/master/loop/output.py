"""Reads what a worker or a template writes to stdout and stderr, line by line for the log."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable

from fpm.log.lines import LineAssembler
from fpm.master.loop.fair_reader import FairReader
from fpm.master.loop.loop import Loop
from fpm.master.loop.read_budget import ReadBudget

CHUNK = 8192
"""Bytes read in one turn: even if each is a line of its own, other pools wait less than 0.1 s."""
PIPE_SIZE = 262144
"""Bytes that a worker can write while the master is busy (F_SETPIPE_SZ, fcntl(2))."""
DRAIN_TIME = 0.02
"""Seconds to read at once when a process has exited; the rest is read bit by bit."""
DRAIN_MAX = 256
"""Maximum number of chunks read then: more than the largest pipe of an unprivileged process (pipe(7))."""


class OutputReader:
    """The reading end of one process's pipe."""

    def __init__(
        self, loop: Loop, share: ReadBudget, write_line: Callable[[str, bool], object], room: int, fd: int | None = None
    ) -> None:
        """Create a pipe, or use an existing one, and start reading.

        Args:
            fd: the reading end of an existing pipe (inherited in an upgrade).
            share: the pool's budget, charged for reading and writing.
            write_line: called with each line, and whether the pipe was closed within it.
            room: bytes of the longest line; longer ones are split (ErrorLog.room_beside).
        """
        self._write_line = write_line
        self._assembler = LineAssembler(room)
        self._turns_left: int | None = None
        """Once the process has ended: how many more chunks are read."""
        self.fd, self.write_fd = os.pipe2(os.O_CLOEXEC) if fd is None else (fd, -1)
        os.set_blocking(self.fd, False)
        _enlarge(self.fd)
        self._reader = FairReader(loop, share, self.fd, self._on_readable, timed=True)

    def close_writer(self) -> None:
        """Close the writing end, once the other process has it."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def finish(self) -> None:
        """Read the rest after the process has exited, including an incomplete last line, and close."""
        self.close_writer()
        self._turns_left = DRAIN_MAX
        end = time.monotonic() + DRAIN_TIME
        while self.fd >= 0 and time.monotonic() < end:
            self._on_readable()

    def close(self) -> None:
        """Close at once, without reading the rest."""
        self.close_writer()
        if self.fd < 0:
            return
        self._reader.close()
        os.close(self.fd)
        self.fd = -1
        rest = self._assembler.close()
        for number, piece in enumerate(rest, 1):
            self._write_line(piece, number == len(rest))

    def _on_readable(self) -> None:
        if not self._read() and self._turns_left is not None:
            self.close()
        elif self._turns_left is not None:
            self._turns_left -= 1
            if self._turns_left <= 0:
                self.close()

    def _read(self) -> bool:
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return False
        for line in self._assembler.feed(data):
            self._write_line(line, False)
        if not data:
            self.close()
        return bool(data)


def _enlarge(fd: int) -> None:
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    except OSError:
        return  # the user's limit for pipes is used up (pipe(7)): the default size will do
