"""One connection from a web server, and the one owner of its descriptor: nothing else closes it."""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Callable
from enum import IntEnum
from time import monotonic

from fpm.fastcgi.connection import Connection
from fpm.protocol.spec import PARK_UNIT
from fpm.worker.socket_io import PeerGone, is_readable, read_available, send_now, send_records, wait_for_room


class Phase(IntEnum):
    """What a connection waits for while no request on it is being served."""

    SILENT = 1
    """Nothing has come from it yet."""
    HEAD = 2
    """Half of a request's head has come."""
    KEPT = 3
    """The web server keeps it between two requests."""
    LINGERING = 4
    """Its answer is complete; only the peer's close is awaited."""


_SILENT = Phase.SILENT
LIMITS = {Phase.SILENT: 5.0, Phase.HEAD: 10.0, Phase.KEPT: 120.0, Phase.LINGERING: 2.0}
"""Seconds. PHP-FPM waits 5 for the first byte; nginx closes a kept connection itself after 60."""
PARKED_MAX = 60000
"""Most bytes of a half-sent head that travel with a parked connection; a longer one stays where it is."""
_PARK_HEAD = struct.Struct("<BdH64s")
"""Phase, deadline (monotonic, which all processes share), length of what has come of the request's head, peer address;
then what has come, and filling: see PARK_UNIT."""
PARKED_SIZE = _PARK_HEAD.size + PARKED_MAX + PARK_UNIT
_LINGER_READS = 16
"""Reads of 64 KiB from a lingering connection in one turn."""
_REPLY_PATIENCE = 1.0
"""Seconds for a protocol answer of a few bytes to be taken."""


class WebConnection:
    """A connection and its descriptor.

    Args:
        fd: non-blocking; it belongs to this object from now on.
        peer: the client's address, "" on a Unix socket.
    """

    __slots__ = ("deadline", "fd", "machine", "on_close", "peer", "phase", "raw")

    def __init__(self, fd: int, peer: str = "") -> None:
        self.fd = fd
        """-1 once it is closed."""
        self.peer = peer
        self.phase = _SILENT
        self.deadline = 0.0
        """Monotonic seconds."""
        self.machine: Connection | None = None
        """Its protocol's state, once some of a head has come that is not the whole of a simple request."""
        self.raw: bytes | None = b""
        """What the machine has been fed of the present head; None: another worker could not go on from it."""
        self.on_close: Callable[[WebConnection], None] | None = None
        """Called before it is closed, while it is watched."""

    def enter(self, phase: Phase, now: float) -> None:
        """Wait for something else from now on."""
        self.phase = phase
        self.deadline = now + LIMITS[phase]

    def close(self) -> None:
        """Give the descriptor back. Again does nothing."""
        if self.fd >= 0:
            if self.on_close is not None:
                self.on_close(self)
            os.close(self.fd)
            self.fd = -1

    def half_close(self) -> None:
        """shutdown(2) of our side: the peer reads the rest of the answer and then the end."""
        view = socket.socket(fileno=self.fd)
        try:
            view.shutdown(socket.SHUT_WR)
        except OSError:  # ENOTCONN: the peer is gone already
            return
        finally:
            view.detach()

    def reply(self, data: bytes) -> None:
        """Send an answer of the protocol.

        Raises:
            PeerGone: the peer is gone, or takes nothing.
        """
        self.raw = None
        sent = send_now(self.fd, data)
        if sent < len(data):
            send_records(self.fd, (data, b""), sent, self._await_room)

    def _await_room(self, rest: bytes) -> None:
        if not wait_for_room(self.fd, _REPLY_PATIENCE):
            raise PeerGone(f"the peer took nothing for {_REPLY_PATIENCE:g} seconds")

    def is_readable(self) -> bool:
        """Look whether something has come, or the end of the stream."""
        return is_readable(self.fd)

    def drain(self) -> bool:
        """Throw away what has come; True at the end of the stream."""
        for _ in range(_LINGER_READS):
            data = read_available(self.fd)
            if not data:
                return data is not None
        return False

    def send_to(self, parking: socket.socket) -> bool:
        """Give the connection to whichever worker takes it there; False if it cannot be moved or there is no room."""
        if self.raw is None or len(self.raw) > PARKED_MAX:
            return False
        head = _PARK_HEAD.pack(self.phase, self.deadline, len(self.raw), self.peer.encode())
        waits = self.phase is not Phase.KEPT  # whoever keeps a connection has had his answer
        filling = bytes((waits - len(head) - len(self.raw)) % PARK_UNIT)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, self.fd.to_bytes(4, "little"))]
        try:
            parking.sendmsg([head, self.raw, filling], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:  # EAGAIN: the queue is full; ETOOMANYREFS: too many descriptors on their way
            return False
        self.close()
        return True


def restore_parked(data: bytes, fd: int) -> WebConnection | None:
    """Make the connection that another worker has parked, of its message and its descriptor.

    None, and the descriptor closed, if no worker of ours has written the message: an application can reach the parking
    socket, and what lies in it is taken by each of the pool's workers in turn, also by those of later generations.
    """
    try:
        phase, deadline, length, peer = _PARK_HEAD.unpack_from(data)
        connection = WebConnection(fd, peer.rstrip(b"\0").decode("ascii"))
        connection.enter(Phase(phase), monotonic())
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise ValueError("not a connection")
    except (struct.error, ValueError):
        os.close(fd)
        return None
    if deadline < connection.deadline:
        connection.deadline = deadline
    connection.raw = data[_PARK_HEAD.size : _PARK_HEAD.size + length]
    return connection
