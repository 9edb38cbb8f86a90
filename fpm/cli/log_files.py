"""Files of logs for `pyfpm logs`: their last entries, and what comes after them, also after a rotation."""

from __future__ import annotations

import contextlib
import copy
import os
import stat
from collections.abc import Callable, Sequence

from fpm.cli.log_entries import EntryReader, Kind, LogEntry

FIRST_READ = 256 * 1024
READ_MAX = 64 * 1024 * 1024
"""Bytes from the end of a file that are looked at."""
PIECE = 1024 * 1024


class LogFile:
    """One file.

    Args:
        pools: those that log to it; empty for the error log.
    """

    def __init__(self, path: str, kind: Kind, pools: tuple[str, ...]) -> None:
        self.path = path
        self._kind = kind
        self._pools = pools
        self._fd = -1
        self._position = 0
        self._rest = b""
        self._reader = EntryReader(kind, pools, 0.0)
        self._former: LogFile | None = None
        """The file before the last rotation."""

    def open(self) -> None:
        """Open it.

        Raises:
            OSError: it cannot be opened, or is not a regular file.
        """
        fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise OSError(0, "this log is not a regular file; its lines are wherever it leads")
        self._fd, self._position, self._rest = fd, 0, b""
        self._reader = EntryReader(self._kind, self._pools, status.st_mtime)

    def read_last(self, is_enough: Callable[[Sequence[LogEntry]], bool]) -> list[LogEntry]:
        """Return the last entries: more and more of the file is read until they are enough, or all.

        Raises:
            OSError: it cannot be read.
        """
        end, size = os.fstat(self._fd).st_size, FIRST_READ
        while True:
            start = max(end - size, 0)
            data = self._read_between(start, end)
            whole, _, self._rest = data.rpartition(b"\n")
            lines = whole.decode("utf-8", "replace").split("\n") if whole else []
            reader = EntryReader(self._kind, self._pools, os.fstat(self._fd).st_mtime)
            entries = [*reader.take(lines[1:] if start else lines, is_torn=start > 0), *reader.finish()]
            self._position, self._reader = end, reader
            if not start or size >= READ_MAX or is_enough(entries):
                return entries
            size *= 4

    def read_new(self) -> list[LogEntry]:
        """Return the entries since the last call; a file that was rotated or cut is followed.

        Raises:
            OSError: it cannot be read, or its successor cannot be opened.
        """
        entries = self._former.read_rest() if self._former is not None else []
        if self._has_successor():
            if self._former is not None:
                self._former.close()
            entries += self.read_rest()
            # A worker that was busy at the rotation writes to the former file once more.
            self._former = copy.copy(self) if self._fd >= 0 else None
            with contextlib.suppress(FileNotFoundError):  # it was there a moment ago
                self.open()
        return entries + self.read_rest()

    def close(self) -> None:
        """Close it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _has_successor(self) -> bool:
        """Tell whether another file is at its path, or the first."""
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return False
        here = os.fstat(self._fd) if self._fd >= 0 else None
        return here is None or (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def read_rest(self) -> list[LogEntry]:
        """Return what has been added to the open file."""
        if self._fd < 0:
            return []
        end = os.fstat(self._fd).st_size
        if end < self._position:  # cut, as by copytruncate of logrotate(8)
            self._position, self._rest = 0, b""
        data = self._rest + self._read_between(self._position, end)
        self._position = end
        whole, newline, self._rest = data.rpartition(b"\n")
        lines = whole.decode("utf-8", "replace").split("\n") if newline else []
        return [*self._reader.take(lines), *self._reader.finish()]

    def _read_between(self, start: int, end: int) -> bytes:
        pieces = []
        while start < end and (piece := os.pread(self._fd, min(PIECE, end - start), start)):
            pieces.append(piece)
            start += len(piece)
        return b"".join(pieces)
