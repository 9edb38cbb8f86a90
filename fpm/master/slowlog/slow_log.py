"""The slow log of a pool, or the error log where the pool has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.errors import StartError
from fpm.events.pool import SlowLogFailed, SlowLogReopened, StackLogged
from fpm.log.target import describe_refusal
from fpm.stacks.text.format import format_entry, format_for_error_log

if TYPE_CHECKING:
    from fpm.config.model import PoolConfig
    from fpm.master.core import Core
    from fpm.master.slowlog.slow_file import SlowFile, SlowFiles
    from fpm.stacks.text.entry import Entry
    from fpm.stacks.text.format import Form

_ENDING = ("terminate", "background", "memory", "stop", "startup")
"""Reasons of a stack that is taken before a process is ended: no such end is silent."""


class SlowLog:
    """Writes the entries of one pool. Nothing here waits."""

    def __init__(self, core: Core, files: SlowFiles, pool: str) -> None:
        self._core = core
        self._files = files
        self._pool = pool
        self._file: SlowFile | None = None
        self._form: Form = "text"
        self._depth = 20

    def use(self, config: PoolConfig) -> None:
        """Write as this configuration says from now on; the file is made, with mode 0600, if it is not there.

        Raises:
            StartError: it cannot be opened; the former one, if there is one, stays in use.
        """
        former, path = self._file, config.slowlog
        self._form, self._depth = config.slowlog_format, config.request_slowlog_trace_depth
        if path == (former.path if former else None):
            return
        try:
            self._file = None if path is None else self._files.take(path, config.identity, self._pool)
        except OSError as error:
            reason = describe_refusal("slowlog", error)
            raise StartError(f"Unable to create or open slowlog({path}) of pool {self._pool}: {reason}") from error
        if former is not None:
            self._files.give_back(former)

    def change(self, config: PoolConfig) -> None:
        """Call use() while the pool serves: the log says if a file cannot be opened, and reopen() tries again."""
        try:
            self.use(config)
        except StartError as error:
            former = self._file.path if self._file else ""
            self._core.emit(SlowLogFailed("open", str(error), former, pool=self._pool))

    def write(self, entry: Entry) -> None:
        """Append an entry. That of a process which is ended goes to the error log if the slow log does not take it."""
        if self._file is not None:
            data = format_entry(entry, self._form, self._depth).encode("utf-8", "backslashreplace")
            if self._file.write(data, self._pool) or entry.reason not in _ENDING:
                return
        if entry.reason == "end":
            return  # the error log has the stacks alone
        text = format_for_error_log(entry, self._depth)
        self._core.emit(StackLogged(text, pool=self._pool, pid=entry.pid))

    def reopen(self, config: PoolConfig) -> None:
        """Open the file anew (SIGUSR1)."""
        if config.slowlog != (self._file.path if self._file else None):
            self.change(config)
        elif self._file is not None and self._file.reopen(self._pool):
            self._core.emit(SlowLogReopened(pool=self._pool))

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._files.give_back(self._file)
            self._file = None
