"""Opens the logs of pools: at once where only root can write, else by a short-lived process of the pool's user.

What that process gives is trusted as little as what a pool sends: a regular file, or nothing. It may hang, on the file
system of a dead server; so few run at once, each has a deadline, and nobody waits for it.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from fpm.config.model import Identity
from fpm.log.target import FileTarget, Target, find_target
from fpm.master.core import Core
from fpm.master.processes.helper_process import OneAnswer
from fpm.paths.place import who_opens
from fpm.system.descriptors import take_descriptor
from fpm.system.spawn import spawn_helper

AT_ONCE = 4
"""Processes at the same time; a file system that hangs holds as many."""
PATIENCE = 10.0
"""Seconds."""

Done = Callable[[Target | OSError], None]


@dataclass(slots=True)
class Order:
    """A log that the pool's user is to open."""

    path: str
    identity: Identity
    done: Done | None
    """Told the outcome, once; None: nobody wants it any more."""

    def forget(self) -> None:
        """Want it no more."""
        self.done = None


class LogOpener:
    """Opens logs for all pools of a master."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: deque[Order] = deque()
        self._running: dict[OneAnswer, socket.socket] = {}

    def open(self, path: str, identity: Identity | None, done: Done) -> Target | Order:
        """Open a log.

        Args:
            identity: of the pool; None if the master is not root.
            done: told the outcome, later, if an order is returned.

        Raises:
            OSError: it cannot be opened, or must not be.
        """
        if identity is None or not who_opens(path, identity.groups if identity.uid else None).is_pool:
            return find_target(path)
        order = Order(path, identity, done)
        self._waiting.append(order)
        self._next()
        return order

    def close(self) -> None:
        """End all processes and forget all orders."""
        self._waiting.clear()
        for running, ours in self._running.items():
            running.forget()
            ours.close()
        self._running.clear()

    def _next(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            order = self._waiting.popleft()
            if order.done is not None:
                self._start(order)

    def _start(self, order: Order) -> None:
        who = order.identity
        arguments = [str(who.uid), str(who.gid), ",".join(map(str, who.groups)), order.path]
        ours, theirs = socket.socketpair()
        ours.setblocking(False)

        def answered(wrong: str | None) -> None:
            with self._running.pop(running):
                outcome = _receive(order.path, ours) if wrong is None else OSError(errno.EACCES, wrong)
            _tell(order, outcome)
            self._next()

        with theirs:
            try:
                running = OneAnswer(
                    self._core,
                    "the process that opens it",
                    lambda out: spawn_helper("fpm.launcher.open_log", arguments, {0: theirs.fileno(), 1: out, 2: out}),
                    PATIENCE,
                    answered,
                )
            except OSError as error:
                ours.close()
                # Not within this call: whoever has ordered does not know the order yet.
                self._core.loop.call_later(0.0, lambda error=error: _tell(order, error))  # type: ignore[misc]
                return
        self._running[running] = ours


def _tell(order: Order, outcome: Target | OSError) -> None:
    if order.done is not None:
        order.done(outcome)
    elif isinstance(outcome, Target):
        outcome.close()


def _receive(path: str, ours: socket.socket) -> Target | OSError:
    try:
        _, ancillary, _, _ = ours.recvmsg(16, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    except OSError as error:
        return error
    fd = take_descriptor(ancillary)
    if fd is None:
        return OSError(errno.EBADF, "no descriptor has come")
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return OSError(errno.EINVAL, "it is not a regular file")
    return FileTarget(path, fd)
