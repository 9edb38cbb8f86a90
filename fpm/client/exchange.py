"""One FastCGI request on a connection of its own: `send_request` returns when the response's headers have arrived."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType

from flup.server import fcgi_base as flup

from fpm.client.records import REQUEST_ID, TimeLimits, Wire, encode_request, parse_end, read_record
from fpm.client.request import connectable
from fpm.client.response import Head, parse_head, split_head
from fpm.config.model import ListenAddress, TcpAddress
from fpm.errors import ConnectFailed, PeerClosed, PeerGarbage, PeerRefused
from fpm.system.unix_sockets import connect_unix

STDERR_LIMIT = 65536
REFUSALS = {
    flup.FCGI_CANT_MPX_CONN: "it does not multiplex connections",
    flup.FCGI_OVERLOADED: "it is overloaded",
    flup.FCGI_UNKNOWN_ROLE: "it is not a responder",
}


class Response:
    """A response being received. Iterate over it, or `read` the body; then `app_status` and `stderr` are complete."""

    def __init__(self, wire: Wire, sock: socket.socket) -> None:
        self._wire = wire
        self._socket = sock
        self._ended = False
        self._body_start = b""
        self.stderr = b""
        """The STDERR stream so far, at most STDERR_LIMIT bytes."""
        self.app_status: int | None = None
        """The exit status in END_REQUEST; None before that has come."""
        self.head: Head = self._read_head()

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body in pieces as they arrive, none of them empty.

        Raises:
            PeerClosed, PeerTimeout, PeerGarbage, PeerRefused: the body is not complete.
        """
        if self._body_start:
            start, self._body_start = self._body_start, b""
            yield start
        while (data := self._next_output()) is not None:
            yield data

    def read(self, limit: int | None = None) -> bytes:
        """Read the whole body.

        Raises:
            PeerGarbage: it is longer than `limit` bytes.
            PeerClosed, PeerTimeout, PeerRefused: it is not complete.
        """
        pieces, size = [], 0
        for piece in self:
            pieces.append(piece)
            size += len(piece)
            if limit is not None and size > limit:
                raise PeerGarbage(f"the response is longer than {limit} bytes")
        return b"".join(pieces)

    def close(self) -> None:
        """Close the connection; to a server this is an abort if the response is not complete."""
        self._socket.close()

    def _read_head(self) -> Head:
        received = b""
        while True:
            data = self._next_output()
            if data is None:
                what = f"only {received[:80]!r}" if received else "nothing"
                raise PeerGarbage(f"the server ended the request without response headers: it sent {what}")
            received += data
            parts = split_head(received)
            if parts is not None:
                self._body_start = parts[1]
                return parse_head(parts[0])

    def _next_output(self) -> bytes | None:
        """Return the next piece of STDOUT, or None once END_REQUEST has come."""
        while not self._ended:
            record = read_record(self._wire)
            if record is None:
                raise PeerClosed("the server closed the connection before the end of the response")
            kind, request, content = record
            if request != REQUEST_ID:
                raise PeerGarbage(f"the server sent a record of type {kind} for request {request}, expected request 1")
            if kind == flup.FCGI_STDOUT:
                if content:
                    return content
            elif kind == flup.FCGI_STDERR:
                self.stderr = (self.stderr + content)[:STDERR_LIMIT]
            elif kind == flup.FCGI_END_REQUEST:
                self._end(content)
            else:
                raise PeerGarbage(f"the server sent an unexpected record of type {kind}")
        return None

    def _end(self, content: bytes) -> None:
        self._ended = True
        self.app_status, protocol_status = parse_end(content)
        if protocol_status != flup.FCGI_REQUEST_COMPLETE:
            reason = REFUSALS.get(protocol_status, f"protocol status {protocol_status}")
            raise PeerRefused(f"the server refused the request: {reason}")


def send_request(
    address: ListenAddress, params: Mapping[str, str], body: Iterable[bytes] = (), *, limits: TimeLimits | None = None
) -> Response:
    """Connect, send a request, and read up to the end of the headers. The body is sent while the response arrives.

    Parameters are latin-1 text, as in a WSGI environ. The caller closes the response.

    Raises:
        ConnectFailed, PeerTimeout, PeerClosed, PeerGarbage, PeerRefused: no response.
    """
    limits = limits or TimeLimits()
    return request_on(connect(address, timeout=limits.connect), params, body, limits=limits)


def request_on(
    sock: socket.socket, params: Mapping[str, str], body: Iterable[bytes] = (), *, limits: TimeLimits | None = None
) -> Response:
    """Send a request on a connected socket, which the response then owns; see send_request().

    Raises:
        PeerTimeout, PeerClosed, PeerGarbage, PeerRefused: no response.
    """
    limits = limits or TimeLimits()
    try:
        return Response(Wire(sock, encode_request(params, body), limits), sock)
    except BaseException:
        sock.close()
        raise


def connect(address: ListenAddress, *, timeout: float) -> socket.socket:
    """Connect a stream socket.

    Raises:
        ConnectFailed: with the reason.
    """
    address = connectable(address)
    try:
        if isinstance(address, TcpAddress):
            return socket.create_connection((address.host, address.port), timeout)
        return connect_unix(address.path, timeout)
    except (TimeoutError, BlockingIOError):
        raise ConnectFailed(f"cannot connect: no answer for {timeout:g} s") from None
    except OSError as error:
        raise ConnectFailed(f"cannot connect: {error.strerror or error}") from None
