"""What a worker or a template writes to stdout and stderr, line by line into the log."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable

from fpm.log.lines import LineAssembler
from fpm.master.loop.fair_reader import FairReader
from fpm.master.loop.loop import Loop
from fpm.master.loop.read_budget import Share

CHUNK = 8192
"""Bytes of one turn: even if each is a line of its own, other pools wait less than 0.1 s."""
PIPE_SIZE = 262144
"""Bytes that a worker can write while the master looks elsewhere (F_SETPIPE_SZ, fcntl(2))."""
DRAIN_TIME = 0.02
"""Seconds to read on at once when a process has ended; what is left after them comes by and by."""
DRAIN_MAX = 256
"""Chunks read at most then: the largest pipe that a process can make (pipe(7)), and more."""


class OutputReader:
    """The reading end of one process's pipe."""

    def __init__(
        self, loop: Loop, share: Share, write_line: Callable[[str, bool], object], room: int, fd: int | None = None
    ) -> None:
        """
        Args:
            fd: the reading end of a pipe that exists already (handed over by an upgrade).
            share: the pool's, from which reading and writing are paid.
            write_line: gets each line, and whether the pipe was closed in the middle of it.
            room: bytes of the longest line; longer ones come in pieces (fpm.log.lines.worker_line_room).
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
        """After the writing end has been given away."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def finish(self) -> None:
        """The process has ended: read what is left, and close; the last line may be an open one."""
        self.close_writer()
        self._turns_left = DRAIN_MAX
        end = time.monotonic() + DRAIN_TIME
        while self.fd >= 0 and time.monotonic() < end:
            self._on_readable()

    def close(self) -> None:
        """Close at once, whatever is left."""
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
