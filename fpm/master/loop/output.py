"""Reads what a worker or a template writes to stdout and stderr, line by line for the log."""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from collections.abc import Callable

from fpm.log.lines import LineAssembler
from fpm.master.loop.fair_reader import FairReader, Share

CHUNK = 4096
"""Bytes read at once."""
LINES_TIME = 0.002
"""Seconds of writing lines at once: each byte may be a line of its own, and others want their turn."""
PIPE_SIZE = 262144
"""Bytes that a worker can write while the master is busy (F_SETPIPE_SZ, fcntl(2))."""
DRAIN_TIME = 0.02
"""Seconds to read at once when a process has exited; the rest is read bit by bit."""
DRAIN_MAX = 512
"""Maximum number of chunks read then: more than the largest pipe of an unprivileged process (pipe(7))."""


class OutputReader:
    """The reading end of one process's pipe."""

    def __init__(
        self, share: Share, write_line: Callable[[str, bool], object], room: int, fd: int | None = None
    ) -> None:
        """Create a pipe, or use an existing one, and start reading.

        Args:
            fd: the reading end of an existing pipe (inherited in an upgrade).
            share: the pool's share of the master's time, charged for reading and writing.
            write_line: called with each line, and whether the pipe was closed within it.
            room: bytes of the longest line; longer ones are split (ErrorLog.room_beside).
        """
        self._write_line = write_line
        self._assembler = LineAssembler(room)
        self._lines: deque[str] = deque()
        """Read, and not written yet."""
        self._chunks_left: int | None = None
        """Once the process has ended: how many more chunks are read."""
        self.fd, self.write_fd = os.pipe2(os.O_CLOEXEC) if fd is None else (fd, -1)
        os.set_blocking(self.fd, False)
        _enlarge(self.fd)
        self._share = share
        self._reader = FairReader(share, self.fd, self._on_turn, self._has_more)

    def close_writer(self) -> None:
        """Close the writing end, once the other process has it."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def finish(self) -> None:
        """Read the rest after the process has exited, including an incomplete last line, and close."""
        self.close_writer()
        self._chunks_left = DRAIN_MAX
        end, begin = time.monotonic() + DRAIN_TIME, time.thread_time()
        while self.fd >= 0 and time.monotonic() < end and self._share.may_read():
            self._on_turn()
        self._share.spend(time.thread_time() - begin)
        if self.fd >= 0:
            self._reader.wait_for_turn()

    def close(self) -> None:
        """Close at once, without reading the rest."""
        self.close_writer()
        if self.fd < 0:
            return
        self._reader.close()
        os.close(self.fd)
        self.fd = -1
        rest = [*self._lines, *self._assembler.close()]
        self._lines.clear()
        for number, piece in enumerate(rest, 1):
            self._write_line(piece, number == len(rest))

    def _has_more(self) -> bool:
        """Tell whether it needs another turn, even if there is nothing to be read."""
        return self.fd >= 0 and (bool(self._lines) or self._chunks_left is not None)

    def _on_turn(self) -> None:
        """Write the lines that there are, or read some."""
        if not self._lines:
            self._read()
        end = time.monotonic() + LINES_TIME
        while self._lines:
            self._write_line(self._lines.popleft(), False)
            if time.monotonic() > end:
                return

    def _read(self) -> None:
        begin = time.monotonic()
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:
            if self._chunks_left is not None:
                self.close()
            return
        finally:
            # Whoever writes holds the pipe's lock, also while he does not run: that he was waited for is his doing.
            self._share.spend(time.monotonic() - begin)
        if not data or self._chunks_left == 0:
            self.close()
            return
        if self._chunks_left is not None:
            self._chunks_left -= 1
        self._lines.extend(self._assembler.feed(data))


def _enlarge(fd: int) -> None:
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    except OSError:
        return  # the user's limit for pipes is used up (pipe(7)): the default size will do
