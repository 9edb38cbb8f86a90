"""The connections of a worker: accepted, watched while nothing is served on them, parked for other workers, closed.

Each that is held has its deadline. Before a worker serves a request it parks the others: it sends their descriptors to
whichever worker is idle.
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from fpm.fastcgi.connection import Connection
from fpm.protocol.spec import FD_LISTEN, FD_PARK_PUT, FD_PARK_TAKE
from fpm.system.descriptors import is_shut_down, no_default_timeout, take_descriptor
from fpm.worker.connection import LIMITS, PARKED_SIZE, Phase, WebConnection, restore_parked
from fpm.worker.master_channel import MasterChannel
from fpm.worker.settings import ActiveSettings, is_within
from fpm.worker.unusable import lost_error, move_away

LEAVING_LIMIT = LIMITS[Phase.SILENT]
"""Seconds that a worker which leaves waits for a request on a connection that nobody else can take: as long as any
waits for the first byte, for on a busy machine a web server may be held up between connect(2) and its first bytes."""
KEPT_AT_ONCE = 2
SURPLUS_LIMIT = 5.0
"""A worker that holds more kept connections than KEPT_AT_ONCE closes the longest idle ones after this many seconds."""
_KEPT = Phase.KEPT
_KEPT_LIMIT = LIMITS[_KEPT]


class Connections:
    """The connections that this worker holds, and the sockets from which it gets them.

    It has many methods: each is one thing that may happen to them, or to a socket.

    Args:
        epoll: watches them.

    Attributes:
        held: those that are watched, by descriptor.
        own: the descriptors that a connection can only get if the application has closed them.
        accepting: this worker takes new ones; if not, none is kept either.
        on_error: told what has failed and why, if no connection could be taken.
    """

    def __init__(self, epoll: select.epoll, settings: ActiveSettings, master: MasterChannel) -> None:
        self._epoll = epoll
        self._settings = settings
        self._master = master
        self._unix = settings.given.listen_is_unix
        with no_default_timeout():
            self._accept = _socket.socket(fileno=FD_LISTEN)._accept  # type: ignore[attr-defined]
            self._put = socket.socket(fileno=FD_PARK_PUT)
            self._take = socket.socket(fileno=FD_PARK_TAKE)
        self.held: dict[int, WebConnection] = {}
        self.own: frozenset[int] = frozenset()
        self.accepting = False
        self._sources = [FD_LISTEN, FD_PARK_TAKE]
        self._has_said_full = False
        self.on_error: Callable[[str, OSError], None] = lambda what, error: None

    # ---------------------------------------------------------------- where they come from

    def begin_accepting(self) -> None:
        """Watch for new connections. Each wakes one worker (EPOLLEXCLUSIVE, epoll_ctl(2))."""
        self.accepting = True
        for fd in self._sources:
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def stop_accepting(self) -> None:
        """Stop watching for new connections, and keep none from now on."""
        self.accepting = False
        for fd in self._sources:
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
            elif error.errno in (errno.EMFILE, errno.ENFILE) and self._close_oldest_silent(error):
                return self.accept()
            self.on_error("accept() failed", error)
            return None
        if fd in self.own:
            fd = self._move(fd)
        os.set_blocking(fd, False)
        if self._unix:
            return WebConnection(fd)
        connection = WebConnection(fd, address[0])
        allowed = self._settings.allowed_clients
        if not allowed or is_within(connection.peer, allowed):
            return connection
        peer = connection.peer.removeprefix("::ffff:")
        self._master.log("error", f"Connection disallowed: IP address '{peer}' has been dropped.")
        connection.close()
        return None

    def _give_up(self, fd: int) -> None:
        """Look no more at a socket that has been shut down (shutdown(2)); the master sees it, and replaces the pool."""
        if fd in self._sources:
            self._sources.remove(fd)
            if self.accepting:
                self._epoll.unregister(fd)

    def _close_oldest_silent(self, error: OSError) -> bool:
        """Make room for a new connection: close the one that has been without a whole request for the longest time."""
        silent = [held for held in self.held.values() if held.phase in (Phase.SILENT, Phase.HEAD)]
        if not silent:
            return False
        if not self._has_said_full:
            self._has_said_full = True
            what = (
                f"{len(silent)} connections have sent no request yet, and the oldest of them is closed for each new one"
            )
            self._master.log("warning", f"accept() failed: {error.strerror} ({error.errno}); {what} (rlimit_files)")
        min(silent, key=lambda held: held.deadline).close()
        return True

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

    # ---------------------------------------------------------------- while they are held

    def hold(self, connection: WebConnection) -> None:
        """Watch a connection, or go on watching it."""
        if connection.fd not in self.held:
            self.held[connection.fd] = connection
            connection.on_close = self.forget
            self._epoll.register(connection.fd, select.EPOLLIN)

    def hold_new(self, connection: WebConnection, limit: float | None = None) -> None:
        """Wait for the first bytes, for as long as they may take or `limit` seconds."""
        connection.enter(Phase.SILENT, monotonic())
        if limit is not None:
            connection.deadline = monotonic() + limit
        self.hold(connection)

    def forget(self, connection: WebConnection) -> None:
        """Stop watching it."""
        if self.held.pop(connection.fd, None) is not None:
            connection.on_close = None
            self._epoll.unregister(connection.fd)

    def next_deadline(self) -> float | None:
        """Find the monotonic time of the first deadline; None while nothing is held."""
        return min([connection.deadline for connection in self.held.values()], default=None)

    def close_expired(self, now: float) -> None:
        """Close those over their time, unless what they should send has come: this worker was late then."""
        expired = [held for held in self.held.values() if held.deadline <= now]
        if expired:
            poll = select.poll()
            for connection in expired:
                poll.register(connection.fd, select.POLLIN)
            late = {fd for fd, _ in poll.poll(0)}
            for connection in expired:
                if connection.fd not in late or connection.phase is Phase.LINGERING:
                    self._tell_expired(connection)
                    connection.close()

    def _tell_expired(self, connection: WebConnection) -> None:
        if connection.phase is Phase.HEAD:
            what = f"of a request's variables only a part has come within {LIMITS[Phase.HEAD]:g} seconds"
            self._master.log("warning", f"{what}; the connection is closed")

    def shorten_surplus(self, now: float) -> None:
        """Let the longest idle kept connections beyond KEPT_AT_ONCE go soon.

        Never the one just answered: the web server may be writing its next request to it already. It takes the newest
        first, so that one idle for seconds is one it does not need.
        """
        kept = [connection for connection in self.held.values() if connection.phase is Phase.KEPT]
        if len(kept) > KEPT_AT_ONCE:
            kept.sort(key=lambda connection: connection.deadline)
            for connection in kept[:-KEPT_AT_ONCE]:
                connection.deadline = min(connection.deadline, now + SURPLUS_LIMIT)

    # ---------------------------------------------------------------- around a request

    def park_others(self, served: WebConnection) -> None:
        """Find another worker for all connections but the one on which a request is to be served."""
        for connection in [held for held in self.held.values() if held is not served]:
            if connection.phase is Phase.LINGERING or connection.send_to(self._put):
                continue
            if connection.phase is Phase.KEPT:
                connection.close()

    def release(self, connection: WebConnection, machine: Connection | None, *, keep: bool) -> None:
        """The answer is complete and the application goes on: the web server must not wait for this worker.

        Args:
            keep: the web server may send another request; else it only gets to know that the answer has ended.
        """
        if not keep:
            connection.half_close()
            return
        self._keep(connection, machine)
        if not connection.send_to(self._put):
            connection.close()

    def settle(self, connection: WebConnection, machine: Connection | None, keep: bool) -> bool:
        """Decide what becomes of a connection after a request: kept, closed, or closed when its peer has read all.

        Returns:
            True if it is kept, for another request here.
        """
        if connection.fd < 0:
            return False  # it was released before the work after the response
        if keep and self.accepting:
            self._keep(connection, machine)
            return True
        if machine is None and self._unix:
            connection.close()  # all that the peer sent has been read, so this resets nothing
        else:
            self.linger(connection)
        return False

    def linger(self, connection: WebConnection) -> None:
        """Half-close a connection and watch for the peer to close it.

        Closing at once would, with unread bytes about, reset the connection and take the answer from the peer.
        """
        self.forget(connection)
        connection.half_close()
        if connection.drain():
            connection.close()
        else:
            connection.enter(Phase.LINGERING, monotonic())
            self.hold(connection)

    def pass_on(self, connection: WebConnection) -> bool:
        """Give a kept connection on which the next request has begun to come to whichever worker is idle, if it can be.

        That may be this one: after whoever else has been waiting for it, and a message of the master.
        """
        return connection.machine is not None and connection.send_to(self._put)

    def hand_over(self, idle: bool, serving: bool, now: float) -> None:
        """Give the connections to others, as this worker takes nothing new.

        One on which a request may be on its way stays if nobody is idle, and is served here.

        Args:
            idle: another worker is idle.
            serving: another worker is there, busy or not.
            now: monotonic seconds.
        """
        for connection in list(self.held.values()):
            is_kept = connection.phase is Phase.KEPT
            is_wanted = idle or (serving and is_kept)
            if connection.phase is Phase.LINGERING or (is_wanted and connection.send_to(self._put)):
                continue
            if is_kept and not connection.is_readable():
                connection.close()
            else:
                connection.deadline = min(connection.deadline, now + LEAVING_LIMIT)

    def _keep(self, connection: WebConnection, machine: Connection | None) -> None:
        connection.phase = _KEPT
        connection.deadline = monotonic() + _KEPT_LIMIT
        if machine is not None:
            connection.machine = None if machine.clean else machine
            connection.raw = b"" if connection.machine is None else connection.machine.unread
        if connection.on_close is None:
            self.hold(connection)
