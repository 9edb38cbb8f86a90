"""The file behind the slow logs of one or several pools: it never blocks, and a trouble is said once.

A full disk, a removed file, a FIFO that nobody reads: the master goes on, and says so in the error log. It says the
same again only after an entry could be written meanwhile.
"""

from __future__ import annotations

from fpm.events.base import Emit
from fpm.events.pool import SlowLogFailed, SlowLogRecovered, SlowLogRecreated
from fpm.log.target import FileTarget, describe_refusal, find_target
from fpm.master.loop.loop import WRITE, Loop


class SlowFile:
    """One open slow log.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, loop: Loop, emit: Emit, path: str) -> None:
        self.path = path
        self._loop = loop
        self._emit = emit
        self._target = find_target(path)
        self._target.say_dropped = lambda count: b""  # it is said in the error log: this one has a form to keep
        self._said: set[tuple[str, str]] = set()
        self._watched: int | None = None

    def write(self, data: bytes, pool: str) -> bool:
        """Append one entry, in one piece where the file allows that.

        Returns:
            Whether it is written, or waits for nothing but its reader; False if something is wrong with the file.
        """
        if not self._has_name(pool):
            return False
        self._target.write(data)
        self._look(pool)
        return self._target.trouble is None

    def reopen(self, pool: str) -> bool:
        """Open the path anew (SIGUSR1); the former file stays in use if that fails, and the error log says why."""
        self._unwatch()
        failure = self._target.reopen()
        if failure:
            self._emit(SlowLogFailed("reopen", failure, pool=pool))
        self._look(pool)
        return not failure

    def close(self) -> None:
        """Write what can be written, and close the descriptor."""
        self._unwatch()
        self._target.close()

    def _has_name(self, pool: str) -> bool:
        """Make a removed file anew: what is written to a file without a name is lost."""
        if not self._is_removed():
            return True
        self._unwatch()
        failure = self._target.reopen()
        if failure:
            self._complain(SlowLogFailed("recreate", failure, self.path, pool=pool))
            return False
        self._emit(SlowLogRecreated(self.path, pool=pool))
        return True

    def _is_removed(self) -> bool:
        return isinstance(self._target, FileTarget) and self._target.is_removed()

    def _look(self, pool: str) -> None:
        trouble = self._target.trouble
        if trouble is not None:
            reason = describe_refusal("slowlog", trouble)
            self._complain(SlowLogFailed("write", reason, self.path, pool=pool))
        elif self._said and not self._is_removed():
            self._said.clear()
            self._emit(SlowLogRecovered(self.path, pool=pool))
        fd = self._target.pending_fd()
        if fd != self._watched:
            self._unwatch()
            if fd is not None:
                self._loop.watch(fd, lambda: self._flush(pool), WRITE)
            self._watched = fd

    def _flush(self, pool: str) -> None:
        self._target.flush()
        self._look(pool)

    def _complain(self, failure: SlowLogFailed) -> None:
        said = failure.problem, failure.reason
        if said not in self._said:
            self._said.add(said)
            self._emit(failure)

    def _unwatch(self) -> None:
        if self._watched is not None:
            self._loop.forget(self._watched)
            self._watched = None


class SlowFiles:
    """Keeps the open files by path: pools that write to one file share it, so that their entries never mix."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[SlowFile, int]] = {}

    def take(self, loop: Loop, emit: Emit, path: str) -> SlowFile:
        """Return the file of this path; the taker gives it back.

        Raises:
            OSError: it cannot be opened.
        """
        file, takers = self._open.get(path) or (SlowFile(loop, emit, path), 0)
        self._open[path] = (file, takers + 1)
        return file

    def give_back(self, file: SlowFile) -> None:
        """Give a file back; the last one to do so closes it."""
        takers = self._open[file.path][1] - 1
        if takers:
            self._open[file.path] = (file, takers)
        else:
            del self._open[file.path]
            file.close()
