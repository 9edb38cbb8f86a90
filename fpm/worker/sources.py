"""The sockets from which a worker gets connections: the listening socket, and the one where others park theirs."""

from __future__ import annotations

import _socket
import errno
import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress

from fpm.protocol.spec import FD_LISTEN, FD_PARK_PUT, FD_PARK_TAKE
from fpm.system.descriptors import is_shut_down, no_default_timeout, take_descriptor
from fpm.worker.connection import PARKED_SIZE, WebConnection, restore_parked
from fpm.worker.master_channel import MasterChannel
from fpm.worker.settings import ActiveSettings, is_within
from fpm.worker.unusable import lost_error, move_away


class Sources:
    """The sockets from which this worker gets connections, and takes them or not.

    Args:
        epoll: watches them.

    Attributes:
        put: where connections are parked.
        own: the descriptors that a connection can only get if the application has closed them.
        accepting: this worker takes new ones; if not, none is kept either.
        on_error: told what has failed and why, if no connection could be taken.
        make_room: closes a connection, as no descriptor is left for a new one; False if there is none to close.
    """

    def __init__(self, epoll: select.epoll, settings: ActiveSettings, master: MasterChannel) -> None:
        self._epoll = epoll
        self._settings = settings
        self._master = master
        self._unix = settings.given.listen_is_unix
        with no_default_timeout():
            self._accept = _socket.socket(fileno=FD_LISTEN)._accept  # type: ignore[attr-defined]
            self.put = socket.socket(fileno=FD_PARK_PUT)
            self._take = socket.socket(fileno=FD_PARK_TAKE)
        self.own: frozenset[int] = frozenset()
        self.accepting = False
        self._watched = [FD_LISTEN, FD_PARK_TAKE]
        self.on_error: Callable[[str, OSError], None] = lambda what, error: None
        self.make_room: Callable[[OSError], bool] = lambda error: False

    def begin_accepting(self) -> None:
        """Watch for new connections. Each wakes one worker (EPOLLEXCLUSIVE, epoll_ctl(2))."""
        self.accepting = True
        for fd in self._watched:
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def stop_accepting(self) -> None:
        """Stop watching for new connections, and keep none from now on."""
        self.accepting = False
        for fd in self._watched:
            with suppress(OSError):  # EBADF, ENOENT: the application has closed it
                self._epoll.unregister(fd)

    def recheck(self) -> None:
        """Look anew whether there are connections: whoever was woken for one may have been killed before it took it."""
        if self.accepting:
            # epoll_ctl(2) looks whether a descriptor is ready when it is added; EPOLLEXCLUSIVE cannot be modified.
            self.stop_accepting()
            self.begin_accepting()

    def accept(self) -> WebConnection | None:
        """Take a new connection; None if another worker was faster, or its client may not connect."""
        try:
            fd, address = self._accept()
        except OSError as error:  # EAGAIN: another worker was faster; ECONNABORTED: the client is gone already
            if error.errno == errno.EINVAL:
                self._give_up(FD_LISTEN)
            elif error.errno in (errno.EMFILE, errno.ENFILE) and self.make_room(error):
                return self.accept()
            self.on_error("accept() failed", error)
            return None
        os.set_blocking(fd, False)
        if self._unix:
            return self.adopt(fd)
        connection = self.adopt(fd, address[0])
        allowed = self._settings.allowed_clients
        if not allowed or is_within(connection.peer, allowed):
            return connection
        peer = connection.peer.removeprefix("::ffff:")
        self._master.log("error", f"Connection disallowed: IP address '{peer}' has been dropped.")
        connection.close()
        return None

    def adopt(self, fd: int, peer: str = "") -> WebConnection:
        """Take a connection that was accepted, non-blocking, from `peer`; its descriptor may have been one of ours."""
        if fd in self.own:
            fd = self._move(fd)
        return WebConnection(fd, peer)

    def _give_up(self, fd: int) -> None:
        """Look no more at a socket that has been shut down (shutdown(2)); the master sees it, and replaces the pool."""
        if fd in self._watched:
            self._watched.remove(fd)
            if self.accepting:
                self._epoll.unregister(fd)

    def take_parked(self) -> WebConnection | None:
        """Take a connection that another worker has parked; it is not watched yet."""
        try:
            data, ancillary, _, _ = self._take.recvmsg(
                PARKED_SIZE, socket.CMSG_SPACE(4), socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            )
        except OSError as error:  # EAGAIN: another worker was faster
            self.on_error("the parking socket cannot be read", error)
            return None
        if not data and not ancillary and is_shut_down(FD_PARK_TAKE):
            self._give_up(FD_PARK_TAKE)
            return None
        fd = take_descriptor(ancillary)
        if fd in self.own:
            fd = self._move(fd)
        return None if fd is None else restore_parked(data, fd)

    def _move(self, fd: int) -> int:
        self.on_error(f"descriptor {fd} of pyfpm is lost", lost_error())
        return move_away(fd, self.own)

    def step_back(self) -> None:
        """Let new connections wake those first who keep none: workers are woken in the order in which they came."""
        if self.accepting and FD_LISTEN in self._watched:
            self._epoll.unregister(FD_LISTEN)
            self._epoll.register(FD_LISTEN, select.EPOLLIN | select.EPOLLEXCLUSIVE)
