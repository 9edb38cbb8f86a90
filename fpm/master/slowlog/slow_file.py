"""The file behind the slow logs of one or several pools: it never blocks, and a trouble is said once.

A full disk, a removed file, a FIFO that nobody reads: the master goes on, and says so in the error log. It says the
same again only after an entry could be written meanwhile.
"""

from __future__ import annotations

from typing import Literal

from fpm.config.model import Identity
from fpm.events.pool import SlowLogFailed, SlowLogRecovered, SlowLogRecreated, SlowLogReopened
from fpm.log.target import BUFFER_MAX, FileTarget, Target, describe_refusal, explain_for_pool
from fpm.master.core import Core
from fpm.master.loop.loop import WRITE
from fpm.master.processes.log_opener import LogOpener, Order

Problem = Literal["open", "reopen", "recreate"]


class SlowFile:
    """One open slow log, or one that the pool's user is about to open: entries wait as long.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, core: Core, opener: LogOpener, path: str, identity: Identity | None, pool: str) -> None:
        self.path = path
        self.key = path, identity
        self._core = core
        self._opener = opener
        self._target: Target | None = None
        self._held = bytearray()
        """Entries that wait for the file."""
        self._order: Order | None = None
        self._refused = False
        """The pool's user could not open it; that is tried again with the next `reopen`."""
        self._said: set[tuple[str, str]] = set()
        self._watched: int | None = None
        self._open("open", pool)

    def write(self, data: bytes, pool: str) -> bool:
        """Append one entry, in one piece where the file allows that.

        Returns:
            Whether it is written, or waits for nothing but its reader; False if something is wrong with the file.
        """
        if not self._has_name(pool):
            return False
        if self._order is not None or self._target is None:
            fits = not self._refused and len(self._held) + len(data) <= BUFFER_MAX
            self._held += data if fits else b""
            return fits
        self._target.write(data)
        self._look(pool)
        return self._target.trouble is None

    def reopen(self, pool: str) -> bool:
        """Open the path anew (SIGUSR1); the former file stays in use if that fails, and the error log says why.

        Returns:
            Whether it is done; if the pool's user does it, the error log says that later.
        """
        self._unwatch()
        try:
            is_done = self._open("reopen", pool)
        except OSError as error:
            reason = f"{self.path}: {error.strerror} ({error.errno})"
            self._core.emit(SlowLogFailed("reopen", reason, pool=pool))
            is_done = False
        self._look(pool)
        return is_done

    def close(self) -> None:
        """Write what can be written, and close the descriptor."""
        self._unwatch()
        if self._order is not None:
            self._order.forget()
        if self._target is not None:
            self._target.close()

    def _open(self, problem: Problem, pool: str) -> bool:
        """Open it, or have the pool's user do so; returns whether it is open.

        Raises:
            OSError: it cannot be opened.
        """
        if self._order is not None:
            self._order.forget()

        def done(outcome: Target | OSError) -> None:
            self._order = None
            if isinstance(outcome, Target):
                self._use(outcome, pool)
                self._tell_opened(problem, pool)
                return
            self._refused = True
            self._held.clear()
            user = self.key[1].user if self.key[1] else ""
            reason = explain_for_pool(self.path, "slowlog", user, outcome)
            self._complain(SlowLogFailed(problem, reason, self.path if self._target else "", pool=pool))

        self._refused = False
        opened = self._opener.open(self.path, self.key[1], done)
        self._order = None if isinstance(opened, Target) else opened
        if isinstance(opened, Target):
            self._use(opened, pool)
        return self._order is None

    def _use(self, target: Target, pool: str) -> None:
        self._unwatch()
        if self._target is None:
            self._target = target
            self._target.say_dropped = lambda count: b""  # it is said in the error log: this one has a form to keep
        else:
            self._target.take_over(target)
        if self._held:
            held = bytes(self._held)
            self._held.clear()
            self._target.write(held)
            self._look(pool)

    def _tell_opened(self, problem: Problem, pool: str) -> None:
        if problem == "reopen":
            self._core.emit(SlowLogReopened(pool=pool))
        elif problem == "recreate":
            self._core.emit(SlowLogRecreated(self.path, pool=pool))

    def _has_name(self, pool: str) -> bool:
        """Make a removed file anew: what is written to a file without a name is lost."""
        if self._order is not None or not self._is_removed():
            return True
        self._unwatch()
        if self._refused:
            return False
        try:
            if self._open("recreate", pool):
                self._tell_opened("recreate", pool)
        except OSError as error:
            reason = f"{self.path}: {error.strerror} ({error.errno})"
            self._complain(SlowLogFailed("recreate", reason, self.path, pool=pool))
            return False
        return True

    def _is_removed(self) -> bool:
        return isinstance(self._target, FileTarget) and self._target.is_removed()

    def _look(self, pool: str) -> None:
        if self._target is None:
            return
        trouble = self._target.trouble
        if trouble is not None:
            reason = describe_refusal("slowlog", trouble)
            self._complain(SlowLogFailed("write", reason, self.path, pool=pool))
        elif self._said and not self._is_removed() and not self._refused:
            self._said.clear()
            self._core.emit(SlowLogRecovered(self.path, pool=pool))
        fd = self._target.pending_fd()
        if fd != self._watched:
            self._unwatch()
            if fd is not None:
                self._core.loop.watch(fd, lambda: self._flush(pool), WRITE)
            self._watched = fd

    def _flush(self, pool: str) -> None:
        if self._target is not None:
            self._target.flush()
        self._look(pool)

    def _complain(self, failure: SlowLogFailed) -> None:
        said = failure.problem, failure.reason
        if said not in self._said:
            self._said.add(said)
            self._core.emit(failure)

    def _unwatch(self) -> None:
        if self._watched is not None:
            self._core.loop.forget(self._watched)
            self._watched = None


class SlowFiles:
    """Keeps the open files by path and user: pools that write to one file share it, so that their entries never mix."""

    def __init__(self, core: Core, opener: LogOpener) -> None:
        self._core = core
        self._opener = opener
        self._open: dict[tuple[str, Identity | None], tuple[SlowFile, int]] = {}

    def take(self, path: str, identity: Identity | None, pool: str) -> SlowFile:
        """Return the file of this path; the taker gives it back.

        Raises:
            OSError: it cannot be opened.
        """
        key = path, identity
        file, takers = self._open.get(key) or (SlowFile(self._core, self._opener, path, identity, pool), 0)
        self._open[key] = (file, takers + 1)
        return file

    def give_back(self, file: SlowFile) -> None:
        """Give a file back; the last one to do so closes it."""
        takers = self._open[file.key][1] - 1
        if takers:
            self._open[file.key] = (file, takers)
        else:
            del self._open[file.key]
            file.close()
