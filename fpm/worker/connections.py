"""The connections a worker holds while it does not serve them, and the parking of such connections.

A connection is held when nothing has come from it yet, when half of a request's head has come, when the web server
keeps it between two requests, and when its answer is complete and only the peer's close is awaited. Each has its
deadline. Before a worker serves a request it parks the others: it sends their descriptors to whichever worker is idle.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from enum import IntEnum

from fpm.fastcgi.connection import Connection
from fpm.protocol.spec import FD_PARK_PUT, FD_PARK_TAKE
from fpm.system.descriptors import take_descriptor
from fpm.worker.socket_io import is_readable, read_available


class Held(IntEnum):
    """Why a connection is held."""

    SILENT = 1
    HEAD = 2
    KEPT = 3
    LINGERING = 4


LIMITS = {Held.SILENT: 5.0, Held.HEAD: 10.0, Held.KEPT: 120.0, Held.LINGERING: 2.0}
"""Seconds. PHP-FPM waits 5 for the first byte; nginx closes a kept connection itself after 60."""
LEAVING_LIMIT = 1.0
"""Seconds that a worker which leaves waits for a request on a connection that nobody else can take."""
KEPT_AT_ONCE = 2
SURPLUS_LIMIT = 5.0
"""A worker that holds more kept connections than KEPT_AT_ONCE closes the longest idle ones after this many seconds."""
_PARK_HEAD = struct.Struct("<Bd64s")
"""kind, deadline (monotonic, which all processes share), peer address; then what has come of the request's head."""
_PARKED_BYTES = 60000
"""Most bytes of a half-sent head that travel with a parked connection; a longer one stays where it is."""
_LINGER_READS = 16
"""Reads of 64 KiB from a lingering connection in one turn."""


class HeldConnection:
    """One of them. `machine` and `raw` (what it has been fed) are there once some of a head has come."""

    __slots__ = ("deadline", "fd", "kind", "machine", "peer", "raw")

    def __init__(self, fd: int, peer: str, kind: Held, deadline: float) -> None:
        self.fd = fd
        self.peer = peer
        self.kind = kind
        self.deadline = deadline
        self.machine: Connection | None = None
        self.raw: bytes | None = b""
        """None: it cannot be parked."""


class Connections:
    """What this worker holds.

    Args:
        epoll: watches them.
    """

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._put = socket.socket(fileno=FD_PARK_PUT)
        self._take = socket.socket(fileno=FD_PARK_TAKE)
        self.held: dict[int, HeldConnection] = {}

    def hold(self, connection: HeldConnection) -> None:
        """Watches a connection, or goes on watching it."""
        if connection.fd not in self.held:
            self.held[connection.fd] = connection
            self._epoll.register(connection.fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Stops watching it, if it was watched; the descriptor stays open."""
        if self.held.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def close(self, fd: int) -> None:
        """Stops watching it and closes it."""
        self.forget(fd)
        os.close(fd)

    def next_deadline(self) -> float | None:
        """Monotonic time of the first deadline; None while nothing is held."""
        return min([connection.deadline for connection in self.held.values()], default=None)

    def close_expired(self, now: float) -> None:
        """Closes those over their time, unless what they should send has come: this worker was late then."""
        expired = [held for held in self.held.values() if held.deadline <= now]
        if expired:
            poll = select.poll()
            for connection in expired:
                poll.register(connection.fd, select.POLLIN)
            late = {fd for fd, _ in poll.poll(0)}
            for connection in expired:
                if connection.fd not in late or connection.kind is Held.LINGERING:
                    self.close(connection.fd)

    def linger(self, fd: int, peer: str, now: float) -> None:
        """Half-closes a connection and waits, without waiting, for the peer to close it.

        Closing at once would, with unread bytes about, reset the connection and take the answer from the peer.
        """
        self.forget(fd)
        half_close(fd)
        if self.drain(fd):
            os.close(fd)
        else:
            self.hold(HeldConnection(fd, peer, Held.LINGERING, now + LIMITS[Held.LINGERING]))

    def drain(self, fd: int) -> bool:
        """Throws away what has come; True at the end of the stream."""
        for _ in range(_LINGER_READS):
            data = read_available(fd)
            if not data:
                return data is not None
        return False

    def park_others(self, served: int) -> None:
        """Before a request is served: finds another worker for all connections but the one it came on."""
        for connection in [held for held in self.held.values() if held.fd != served]:
            if connection.kind is not Held.LINGERING and not self.park(connection) and connection.kind is Held.KEPT:
                self.close(connection.fd)

    def shorten_surplus(self, now: float) -> None:
        """Lets the longest idle kept connections beyond KEPT_AT_ONCE go soon.

        Never the one just answered: the web server may be writing its next request to it already. It takes the newest
        first, so that one idle for seconds is one it does not need.
        """
        kept = [connection for connection in self.held.values() if connection.kind is Held.KEPT]
        if len(kept) > KEPT_AT_ONCE:
            kept.sort(key=lambda connection: connection.deadline)
            for connection in kept[:-KEPT_AT_ONCE]:
                connection.deadline = min(connection.deadline, now + SURPLUS_LIMIT)

    def park(self, connection: HeldConnection) -> bool:
        """Gives a connection to whichever worker is idle; False if it cannot be moved or there is no room."""
        if connection.raw is None or len(connection.raw) > _PARKED_BYTES:
            return False
        head = _PARK_HEAD.pack(connection.kind, connection.deadline, connection.peer.encode())
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, connection.fd.to_bytes(4, "little"))]
        try:
            self._put.sendmsg([head, connection.raw], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:  # EAGAIN: the queue is full; ETOOMANYREFS: too many descriptors on their way
            return False
        self.close(connection.fd)
        return True

    def take_parked(self) -> HeldConnection | None:
        """A connection that another worker has parked; not watched yet."""
        try:
            data, ancillary, _, _ = self._take.recvmsg(
                _PARK_HEAD.size + _PARKED_BYTES, socket.CMSG_SPACE(4), socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            )
        except OSError:  # another worker was faster
            return None
        fd = take_descriptor(ancillary)
        if fd is None:
            return None
        kind, deadline, peer = _PARK_HEAD.unpack_from(data)
        connection = HeldConnection(fd, peer.rstrip(b"\0").decode(), Held(kind), deadline)
        connection.raw = data[_PARK_HEAD.size :]
        return connection

    def hand_over(self, idle: bool, serving: bool, now: float) -> None:
        """This worker takes nothing new: others get its connections.

        One on which a request may be on its way stays if nobody is idle, and is served here.

        Args:
            idle: another worker is idle.
            serving: another worker is there, busy or not.
            now: monotonic seconds.
        """
        for connection in list(self.held.values()):
            is_kept = connection.kind is Held.KEPT
            if connection.kind is Held.LINGERING or ((idle or (serving and is_kept)) and self.park(connection)):
                continue
            if is_kept and not is_readable(connection.fd):
                self.close(connection.fd)
            else:
                connection.deadline = min(connection.deadline, now + LEAVING_LIMIT)


def half_close(fd: int) -> None:
    """shutdown(2) of our side: the peer reads the rest of the answer and then the end."""
    view = socket.socket(fileno=fd)
    try:
        view.shutdown(socket.SHUT_WR)
    except OSError:  # ENOTCONN: the peer is gone already
        return
    finally:
        view.detach()
