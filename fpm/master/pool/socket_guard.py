"""Replaces the sockets that a pool's processes share when one of them has shut them down (shutdown(2)).

The listening socket is bound anew, the parking socket is made anew, and a new generation of the same configuration
takes over with them. Until then the pool cannot be reached, which is its own doing.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from fpm.config.model import AbstractAddress
from fpm.errors import StartError
from fpm.events.base import PoolEvent
from fpm.events.pool import SocketShutDown
from fpm.master.listening.listeners import open_listener
from fpm.master.loop.loop import NamedTimers
from fpm.master.pool.current_config import CurrentConfig
from fpm.master.pool.generations import Generations
from fpm.master.pool.scaling import Scaler
from fpm.master.services import Services
from fpm.system.listening import Listener, stand_in

PAUSE = 2.0
"""Seconds between two replacements, and until one that has failed is tried again."""


class SocketGuard:
    """Guards the sockets of one pool."""

    def __init__(
        self,
        services: Services,
        current: CurrentConfig,
        listener: Listener,
        generations: Generations,
        scaler: Scaler,
        emit: Callable[[PoolEvent], None],
    ) -> None:
        self._services = services
        self._current = current
        self._listener = listener
        self._generations = generations
        self._scaler = scaler
        self._emit = emit
        self._timers = NamedTimers(services.loop)
        self._watched: dict[str, int] = {}
        self._last = -PAUSE
        self._kept: socket.socket | None = None
        self._stands_in = False
        """The listening socket is one that nobody can connect to, until the address is free."""
        self._watch("listening", listener.socket.fileno())

    def watch_parking(self, fd: int) -> None:
        """Watch the present parking socket."""
        self._watch("parking", fd)

    def bind_missing(self) -> None:
        """Bind the address of the pool if that could not be done before.

        Raises:
            StartError: it cannot be had.
        """
        if self._listener.missing:
            self._bind()

    def _bind(self) -> None:
        self._use(open_listener(self._current.config))
        self._stands_in = False

    def _use(self, fresh: Listener) -> None:
        self._forget("listening")
        self._scaler.turns.saturation.off()
        self._listener.take(fresh)
        self._watch("listening", fresh.socket.fileno())

    def stop(self) -> None:
        """Guard nothing any more; the listening socket is about to be closed here, and workers still serve from it."""
        self._timers.cancel_all()
        for which in list(self._watched):
            self._forget(which)
        if self._kept is None and self._listener.is_ours and self._listener.socket.fileno() >= 0:
            self._kept = self._listener.socket.dup()

    def close(self) -> None:
        """Shut the listening socket down after the last process: who has left its pool must not go on accepting."""
        self.stop()
        if self._kept is not None:
            if self._listener.is_ours:
                with contextlib.suppress(OSError):  # it has been shut down
                    self._kept.shutdown(socket.SHUT_RDWR)
            self._kept.close()
            self._kept = None

    def _watch(self, which: str, fd: int) -> None:
        self._forget(which)
        if fd >= 0:
            self._watched[which] = fd
            self._services.hangups.watch(fd, lambda: self._on_shut_down(which))

    def _forget(self, which: str) -> None:
        fd = self._watched.pop(which, -1)
        if fd >= 0:
            self._services.hangups.forget(fd)

    def _on_shut_down(self, which: str) -> None:
        self._watched.pop(which, None)
        self._emit(SocketShutDown(which, pool=self._current.config.name))
        self._timers.set(which, max(self._last + PAUSE - self._services.loop.now, 0.0), lambda: self._replace(which))

    def _replace(self, which: str) -> None:
        self._last = self._services.loop.now
        try:
            if which == "listening":
                self._bind()
                self._scaler.evaluate()  # which watches the new one
        except StartError as error:
            self._emit(SocketShutDown(which, str(error), pool=self._current.config.name))
            self._timers.set(which, PAUSE, lambda: self._replace(which))
            if not isinstance(self._listener.address, AbstractAddress) or self._stands_in:
                return
            # Its name is taken as long as any process has the old socket: this one, and those of the pool.
            self._use(stand_in(self._listener.address, ""))
            self._stands_in = True
        self._renew()

    def _renew(self) -> None:
        """Let a generation that has the new sockets take over; again if it does not work, or a reload is under way."""
        if self._generations.trial is None and self._generations.has_processes:
            self._generations.restart(lambda ok: None if ok else self._try_later())
        elif self._generations.trial is not None:
            self._try_later()

    def _try_later(self) -> None:
        self._timers.set("renew", PAUSE, self._renew)
