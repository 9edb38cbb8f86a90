"""The error log as the master keeps it: lines that wait for a slow reader, and opening it anew."""

from __future__ import annotations

from typing import Protocol

from fpm.errors import StartError
from fpm.events.base import Emit
from fpm.events.master import ErrorLogFailed, ErrorLogReopened
from fpm.log.error import ErrorLog
from fpm.master.loop.loop import WRITE, Loop


class Waiting(Protocol):
    """What is written without blocking: the error log, or the events for a program."""

    def pending_fd(self) -> int | None:
        """Give the descriptor that lines wait for; None if none wait."""

    def flush(self) -> None:
        """Write as much as is taken now."""


def reopen_log(log: ErrorLog, emit: Emit) -> None:
    """Open the error log anew (SIGUSR1); if that fails, the present file stays in use."""
    try:
        log.reopen()
        log.flush()
        emit(ErrorLogReopened())
    except StartError as error:
        emit(ErrorLogFailed(str(error)))


class LogWatch:
    """Goes on writing as soon as the reader takes more."""

    def __init__(self, loop: Loop, written: Waiting) -> None:
        self._loop = loop
        self._written = written
        self._fd: int | None = None

    def look(self) -> None:
        """Watch the descriptor that lines wait for, if any."""
        fd = self._written.pending_fd()
        if fd != self._fd:
            self.forget()
        if fd is not None and not self._loop.is_watched(fd):
            self._loop.watch(fd, self._flush, WRITE)
        self._fd = fd

    def _flush(self) -> None:
        self._written.flush()
        self.look()

    def forget(self) -> None:
        """Watch nothing, before the descriptor is closed."""
        if self._fd is not None:
            self._loop.forget(self._fd)
            self._fd = None
