"""Tells when a socket that is shared with a pool's processes has been shut down by one of them (shutdown(2)).

All that have the socket lose it then, without any error of their own. It is an epoll of its own, watched by the loop:
the same descriptors are watched for other things now and then.
"""

from __future__ import annotations

import select
from collections.abc import Callable

from fpm.master.loop.loop import Loop


class HangupWatch:
    """Watches sockets for nothing but their end; each is told once."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._epoll: select.epoll | None = None
        self._callbacks: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call back once when the socket is shut down, or at once if it is."""
        self.forget(fd)
        if self._epoll is None:
            self._epoll = select.epoll()
            self._loop.watch(self._epoll.fileno(), self._on_events)
        self._epoll.register(fd, select.EPOLLRDHUP)
        self._callbacks[fd] = callback

    def forget(self, fd: int) -> None:
        """Watch it no more; call this before the descriptor is closed, for the pool's processes keep the socket."""
        if self._callbacks.pop(fd, None) is not None and self._epoll is not None:
            self._epoll.unregister(fd)

    def close(self) -> None:
        """Watch nothing any more."""
        if self._epoll is not None:
            self._loop.forget(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _on_events(self) -> None:
        events = self._epoll.poll(0) if self._epoll is not None else []
        for fd, _ in events:
            callback = self._callbacks.get(fd)
            self.forget(fd)
            if callback is not None:
                callback()
