"""The access log of one pool: opened by the master or by the pool's user, written by its workers.

Workers get a descriptor of their own file. Where the log is no file, or one that the master writes to itself, they get
a pipe, and the master copies; and as long as the pool's user has not opened it yet, their lines wait in that pipe.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from typing import Any

from fpm.config.model import PoolConfig
from fpm.errors import StartError
from fpm.events.base import PoolEvent
from fpm.events.pool import AccessLogFailed, AccessLogReopened
from fpm.log.target import Target, discard, explain, explain_for_pool
from fpm.master.listening.inherited import InheritedFds, take_inherited
from fpm.master.log_pipe import LogPipe
from fpm.master.loop.read_budget import ReadBudget
from fpm.master.processes.log_opener import Order
from fpm.master.services import Services


class AccessLog:
    """Holds the descriptor."""

    def __init__(
        self,
        services: Services,
        share: ReadBudget,
        emit: Callable[[PoolEvent], None],
        tell_workers: Callable[[], None],
    ) -> None:
        """
        Args:
            tell_workers: called when they must have another descriptor, which may be later than `follow` or `reopen`.
        """
        self.fd: int | None = None
        """None: the pool has no access log."""
        self._services = services
        self._share = share
        self._emit = emit
        self._tell_workers = tell_workers
        self._path: str | None = None
        self._pipe: LogPipe | None = None
        self._former: list[LogPipe] = []
        """Pipes that workers may still write to."""
        self._order: Order | None = None

    def follow(self, config: PoolConfig) -> bool:
        """Write where this configuration says from now on; returns whether that is another file.

        Raises:
            StartError: it cannot be opened; the former one stays in use.
        """
        if config.access_log == self._path:
            return False
        if config.access_log is None:
            self.close()
        else:
            self._open(config.access_log, config, again=False)
            if self._order is not None:
                self._use_pipe(None)
        self._path = config.access_log
        return True

    def reopen(self, config: PoolConfig) -> None:
        """Open the same file anew (SIGUSR1); the former one stays in use if that fails, and the error log says why."""
        if self._path is None:
            return
        try:
            self._open(self._path, config, again=True)
        except StartError as error:
            self._emit(AccessLogFailed(str(error), pool=config.name))
        else:
            if self._order is None:
                self._opened(config, again=True)

    def dump(self, kept: InheritedFds) -> dict[str, Any]:
        """Describe it for the next master."""
        pipe = -1 if self._pipe is None else self._pipe.fd
        return {"fd": kept.keep(-1 if self.fd is None else self.fd), "path": self._path, "pipe": kept.keep(pipe)}

    def restore(self, state: Mapping[str, Any], config: PoolConfig) -> None:
        """Go on where `dump` was."""
        fd, pipe = take_inherited(state["fd"]), take_inherited(state.get("pipe", -1))
        self.fd, self._path = None if fd < 0 else fd, state["path"]
        if pipe < 0:
            return
        self._pipe = LogPipe(self._services.loop, self._share, (pipe, fd))
        try:
            self._open(str(self._path), config, again=False)
        except StartError as error:
            self._emit(AccessLogFailed(str(error), pool=config.name))

    def close(self) -> None:
        """Give everything back."""
        if self._order is not None:
            self._order.forget()
        if self._pipe is not None:
            self._pipe.close()
        elif self.fd is not None:
            os.close(self.fd)
        for pipe in self._former:
            pipe.close()
        self._former.clear()
        self.fd = self._path = self._pipe = self._order = None

    def _open(self, path: str, config: PoolConfig, *, again: bool) -> None:
        """Open it, or have it opened."""
        if self._order is not None:
            self._order.forget()
            self._order = None

        def done(outcome: Target | OSError) -> None:
            self._order = None
            if isinstance(outcome, Target):
                self._use(outcome)
                self._opened(config, again=again)
                return
            if self._pipe is not None and self._pipe.is_waiting:
                self._pipe.copy_to(discard())
            user = config.identity.user if config.identity else ""
            self._emit(AccessLogFailed(explain_for_pool(path, "access.log", user, outcome), pool=config.name))

        try:
            opened = self._services.log_opener.open(path, config.identity, done)
        except OSError as error:
            raise StartError(explain(path, "access.log", error)) from error
        if isinstance(opened, Target):
            self._use(opened)
        else:
            self._order = opened

    def _opened(self, config: PoolConfig, *, again: bool) -> None:
        self._tell_workers()
        if again:
            self._emit(AccessLogReopened(pool=config.name))

    def _use(self, target: Target) -> None:
        if not _is_for_workers(target.fileno()) or self._services.log.has_same_file(target.fileno()):
            self._use_pipe(target)
            return
        fd, former = os.dup(target.fileno()), self._pipe
        if former is None and self.fd is not None:
            os.close(self.fd)
        if former is not None and former.is_waiting:
            former.copy_to(target)
        else:
            target.close()
        if former is not None:
            former.retire()
            self._former = [*(pipe for pipe in self._former if pipe.fd >= 0), former]
        self.fd, self._pipe = fd, None

    def _use_pipe(self, target: Target | None) -> None:
        if self._pipe is None:
            if self.fd is not None:
                os.close(self.fd)
            self._pipe = LogPipe(self._services.loop, self._share)
            self.fd = self._pipe.write_fd
        if target is not None:
            self._pipe.copy_to(target)


def _is_for_workers(fd: int) -> bool:
    """A file, or a device that is no terminal (/dev/null): what one does to it concerns no other process."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not os.isatty(fd))
