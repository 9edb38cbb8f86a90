"""The control socket: one JSON object a line in, one JSON object a line out, for the master's own user and root only.

The connection stays open until the answer is complete; for a stop that is the end of the master.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

from fpm.errors import StartError
from fpm.events.base import Emit
from fpm.events.master import ControlSocketFailed
from fpm.master.loop.loop import READ, WRITE, Loop
from fpm.paths.files import make_directory
from fpm.paths.place import trusted_users
from fpm.system.listening import Listener, open_private_unix

REQUEST_MAX = 65536
ANSWER_MAX = 64 * 1024 * 1024
"""Bytes that may wait for a client that does not read."""
CONNECTIONS_MAX = 64
ACCEPTS_PER_TURN = 16
SILENCE_MAX = 10.0
"""Seconds until a client that has asked nothing, or does not read its answer, is sent away."""
PEER_CREDENTIALS = struct.Struct("iII")

Handler = Callable[["Connection", dict[str, Any]], None]


def open_control_socket(path: str) -> Listener:
    """Bind the control socket, mode 0600; its directory is made if it is missing.

    Raises:
        StartError: another master listens there, or the path cannot be used.
    """
    directory = os.path.dirname(path)
    try:
        _make_directory(directory)
    except OSError as error:
        raise StartError(_cannot_open(path, f"{directory}: {error.strerror}")) from error
    try:
        return open_private_unix(path)
    except OSError as error:
        raise StartError(_cannot_open(path, str(error.strerror))) from error
    except StartError as error:
        raise StartError(f"{error} (the control socket; is this daemon running already?)") from error


def _cannot_open(path: str, reason: str) -> str:
    return f"cannot open the control socket {path}: {reason}; set [global] control to a path that you can write"


def _make_directory(directory: str) -> None:
    """Make the runtime directory if it is missing; nobody else must have made it for us.

    Raises:
        OSError: it cannot be made.
        StartError: it belongs to somebody else.
    """
    # 0755: the pools of root may listen there, too.
    owner = make_directory(directory, 0o755 if os.geteuid() == 0 else 0o700).st_uid
    if owner not in trusted_users() and (os.geteuid() == 0 or os.path.dirname(directory) == "/tmp"):
        raise StartError(f"{directory} belongs to another user (uid {owner}); set [global] control")


class ControlServer:
    """Accepts connections and gives whole requests to `handle`."""

    def __init__(self, loop: Loop, listener: Listener, handle: Handler) -> None:
        self.loop = loop
        self.listener = listener
        self.handle = handle
        self.connections: set[Connection] = set()
        loop.watch(listener.socket.fileno(), self._accept)

    def close(self) -> None:
        """Close all connections and remove the socket."""
        self.loop.forget(self.listener.socket.fileno())
        for connection in list(self.connections):
            connection.close()
        self.listener.close()

    def mend(self, emit: Emit) -> None:
        """Listen at the same path again, if the socket's file has been removed."""
        path = str(self.listener.address)
        if not self.listener.is_lost:
            return
        try:
            fresh = open_control_socket(path)
        except StartError as error:
            emit(ControlSocketFailed(str(error)))
            return
        self.loop.forget(self.listener.socket.fileno())
        self.listener.take(fresh)
        self.loop.watch(self.listener.socket.fileno(), self._accept)

    def answer_handed(self, fd: int, message: dict[str, Any]) -> None:
        """Answer a client that has asked the former program of an upgrade; -1: it has gone."""
        if fd < 0:
            return
        os.set_inheritable(fd, False)
        connection = Connection(self, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=fd))
        self.connections.add(connection)
        connection.answer(message)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, _ = self.listener.socket.accept()
            except OSError:
                return  # none is left, or no descriptor: the next event comes if one still waits
            if not _is_allowed(accepted):
                _refuse(accepted, "only root and the user of the master may control it")
            elif len(self.connections) >= CONNECTIONS_MAX:
                _refuse(accepted, "too many clients at once; try again")
            else:
                self.connections.add(Connection(self, accepted))


class Connection:
    """One client of the control socket."""

    def __init__(self, server: ControlServer, accepted: socket.socket) -> None:
        self.server = server
        self.socket = accepted
        self.socket.setblocking(False)
        self._received = b""
        self._unsent = b""
        self._closing = False
        self._asked = False
        self._timer = server.loop.call_later(SILENCE_MAX, self.close)
        server.loop.watch(accepted.fileno(), self._on_ready)

    def answer(self, message: dict[str, Any], *, last: bool = True, fd: int | None = None) -> None:
        """Send one line; the connection is closed after the last one.

        Args:
            fd: goes with it, if there is room; the client must be able to do without.
        """
        if self.socket.fileno() < 0:
            return
        self._unsent += json.dumps(message).encode() + b"\n"
        if last and not self._closing:
            self._closing = True
            self._timer = self.server.loop.call_later(SILENCE_MAX, self.close)
        if len(self._unsent) > ANSWER_MAX:
            self.close()
            return
        self._flush([] if fd is None else [fd])

    @property
    def unsent(self) -> int:
        """Bytes that the client has not read yet."""
        return len(self._unsent)

    def close(self) -> None:
        """Drop the client."""
        self._timer.cancel()
        if self.socket.fileno() >= 0:
            self.server.loop.forget(self.socket.fileno())
            self.socket.close()
        self.server.connections.discard(self)

    def _on_ready(self) -> None:
        if self._unsent:
            self._flush()
        if self.socket.fileno() >= 0:
            self._read()

    def _read(self) -> None:
        try:
            data = self.socket.recv(REQUEST_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        if self._asked:
            return  # one question a connection
        self._received += data
        line, newline, _ = self._received.partition(b"\n")
        if newline:
            self._asked = True
            self._timer.cancel()
            try:
                self.server.handle(self, _parse(line))
            except Exception:
                self.close()  # the loop reports it; the client must not wait for ever
                raise
        elif len(self._received) > REQUEST_MAX:
            self.answer({"ok": False, "error": "the request is too long"})

    def _flush(self, fds: Sequence[int] = ()) -> None:
        try:
            if fds:
                sent = socket.send_fds(self.socket, [self._unsent], fds, socket.MSG_NOSIGNAL)
            else:
                sent = self.socket.send(self._unsent, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        self._unsent = self._unsent[sent:]
        if not self._unsent and self._closing:
            self.close()
            return
        events = READ | WRITE if self._unsent else READ
        self.server.loop.watch(self.socket.fileno(), self._on_ready, events)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _refuse(accepted: socket.socket, error: str) -> None:
    """Say why and close; its question is not waited for."""
    with accepted, contextlib.suppress(OSError):
        message = json.dumps({"ok": False, "error": error}).encode() + b"\n"
        accepted.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _is_allowed(accepted: socket.socket) -> bool:
    """Root and the master's own user (SO_PEERCRED, unix(7)); the file's mode says the same."""
    data = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
    uid = PEER_CREDENTIALS.unpack(data)[1]
    return uid in (0, os.geteuid())
