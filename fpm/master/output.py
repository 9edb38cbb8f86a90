"""What a worker or a template writes to stdout and stderr, line by line into the log."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable

from fpm.log.lines import LineAssembler
from fpm.master.loop import Loop

CHUNK = 65536
PIPE_SIZE = 262144
"""Bytes that a worker can write while the master looks elsewhere (F_SETPIPE_SZ, fcntl(2))."""
DRAIN_MAX = 64
"""Chunks read at most when a process has ended."""


class OutputReader:
    """The reading end of one process's pipe."""

    def __init__(self, loop: Loop, write_line: Callable[[str, bool], None], room: int) -> None:
        """
        Args:
            write_line: gets each line, and whether the pipe was closed in the middle of it.
            room: bytes of the longest line; longer ones come in pieces (fpm.log.lines.worker_line_room).
        """
        self._loop = loop
        self._write_line = write_line
        self._assembler = LineAssembler(room)
        self.fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.fd, False)
        _enlarge(self.fd)
        loop.watch(self.fd, self._on_readable)

    def close_writer(self) -> None:
        """After the writing end has been given away."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def close(self) -> None:
        """Read what is left, and close; the last line may be an open one."""
        self.close_writer()
        if self.fd < 0:
            return
        for _ in range(DRAIN_MAX):
            if self.fd < 0 or not self._read():
                break
        self._close_reader()

    def _on_readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return False
        for line in self._assembler.feed(data):
            self._write_line(line, False)
        if not data:
            self._close_reader()
        return bool(data)

    def _close_reader(self) -> None:
        if self.fd < 0:
            return
        self._loop.forget(self.fd)
        os.close(self.fd)
        self.fd = -1
        rest = self._assembler.close()
        if rest:
            self._write_line(rest, True)


def _enlarge(fd: int) -> None:
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    except OSError:
        return  # the user's limit for pipes is used up (pipe(7)): the default size will do
