"""FastCGI records on a socket, by flup6's codec, with what it lacks: deadlines, checks, and sending while receiving.

flup6 provides the constants, the struct formats, `Record` and `encode_pair`. Its faults are worked around here:

- `Record.read` catches every exception and raises EOFError. `read_record` raises the original exception. - It reads
from a blocking socket without limit. It gets a `Wire` instead, whose `recv` has deadlines. - It accepts any version and
waits for as many bytes as garbage announces. `Wire` checks the first byte. - `Record.write` makes two or three system
calls for a record. It writes into a buffer here. - `flup.client` deadlocks when a server answers before it has read the
body. `Wire` sends and receives in turn.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping

from flup.server import fcgi_base as flup

from fpm.errors import PeerClosed, PeerGarbage, PeerTimeout
from fpm.frozen import dataclass

REQUEST_ID = 1
CONTENT_MAX = 65535
STDIN_SIZE = 32768
READ_SIZE = 65536


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Time limits in seconds: to connect, for the next byte in either direction, and for all (None: no limit)."""

    connect: float = 5.0
    idle: float = 60.0
    total: float | None = None


class Wire:
    """A connected socket that `flup.Record.read` reads from; while it waits it sends the records of `outgoing`."""

    def __init__(self, sock: socket.socket, outgoing: Iterator[bytes], limits: TimeLimits) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._outgoing: Iterator[bytes] | None = outgoing
        self._unsent = memoryview(b"")
        self._incoming = b""
        self._idle = limits.idle
        self._total = limits.total
        self._end = None if limits.total is None else time.monotonic() + limits.total
        self._poll = select.poll()
        self.at_boundary = True
        """Whether the next byte is the first of a record."""

    def fileno(self) -> int:
        """Return the descriptor, for flup's debug output."""
        return self._socket.fileno()

    def recv(self, size: int) -> bytes:
        """Receive up to `size` bytes, or b"" at the end of the connection; send while waiting.

        Raises:
            PeerTimeout: nothing moved for too long.
            PeerClosed: the connection was reset.
            PeerGarbage: a record does not start with FastCGI's version.
        """
        if not self._incoming:
            self._incoming = self._receive()
        if self.at_boundary and self._incoming:
            if self._incoming[0] != flup.FCGI_VERSION_1:
                raise PeerGarbage(f"the server does not speak FastCGI 1, it sent {self._incoming[:20]!r}")
            self.at_boundary = False
        data, self._incoming = self._incoming[:size], self._incoming[size:]
        return data

    def _receive(self) -> bytes:
        while True:
            self._wait()
            try:
                return self._socket.recv(READ_SIZE)
            except BlockingIOError:
                self._send()
            except ConnectionResetError:
                raise PeerClosed("the server reset the connection") from None

    def _wait(self) -> None:
        left = self._idle if self._end is None else self._end - time.monotonic()
        timeout = max(0.0, min(self._idle, left))
        events = select.POLLIN if self._outgoing is None else select.POLLIN | select.POLLOUT
        self._poll.register(self._socket, events)
        if left > 0 and self._poll.poll(timeout * 1000):
            return
        if left < self._idle:
            raise PeerTimeout(f"the server sent no complete response within {self._total:g} s")
        what = "sent nothing" if self._outgoing is None else "neither sent nor received anything"
        raise PeerTimeout(f"the server {what} for {self._idle:g} s")

    def _send(self) -> None:
        if not self._unsent and self._outgoing is not None:
            chunk = next(self._outgoing, None)
            if chunk is None:
                self._outgoing = None
                return
            self._unsent = memoryview(chunk)
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            # A server may answer, and close, before it has read the whole body: its answer is still valid.
            self._outgoing, self._unsent = None, memoryview(b"")


def read_record(wire: Wire) -> tuple[int, int, bytes] | None:
    """Read the next record as (type, request id, content); None at the end of the connection.

    Raises:
        PeerClosed: the connection ended inside a record.
        PeerTimeout, PeerGarbage: as `Wire.recv`.
    """
    record = flup.Record()
    wire.at_boundary = True
    try:
        record.read(wire)
    except EOFError as error:
        if error.__context__ is not None:
            raise error.__context__ from None
        if wire.at_boundary:
            return None
        raise PeerClosed("the server closed the connection in the middle of a record") from None
    return record.type, record.requestId, record.contentData


def parse_end(content: bytes) -> tuple[int, int]:
    """Parse an END_REQUEST record into (application status, protocol status).

    Raises:
        PeerGarbage: its length is not that of FCGI_EndRequestBody.
    """
    try:
        app_status, protocol_status = struct.unpack(flup.FCGI_EndRequestBody, content)
    except struct.error:
        raise PeerGarbage(f"the server sent an END_REQUEST record of {len(content)} bytes") from None
    return app_status, protocol_status


class _Sink:
    """A buffer that `flup.Record.write` takes for a socket."""

    def __init__(self) -> None:
        self.data = bytearray()

    def fileno(self) -> int:
        return -1

    def send(self, data: bytes) -> int:
        self.data += data
        return len(data)


def encode_record(kind: int, content: bytes = b"") -> bytes:
    """Encode one record of the connection's only request; content is at most CONTENT_MAX bytes."""
    record = flup.Record(kind, REQUEST_ID)
    record.contentData = content
    record.contentLength = len(content)
    sink = _Sink()
    record.write(sink)
    return bytes(sink.data)


def encode_request(params: Mapping[str, str], body: Iterable[bytes]) -> Iterator[bytes]:
    """Encode a responder request as records; the body is read as it is sent.

    Pairs are not split over two PARAMS records unless one is longer than a record: some servers (flup's too) decode
    each record on its own.
    """
    begin = struct.pack(flup.FCGI_BeginRequestBody, flup.FCGI_RESPONDER, 0)
    head = encode_record(flup.FCGI_BEGIN_REQUEST, begin)
    for content in _pack_params(params):
        head += encode_record(flup.FCGI_PARAMS, content)
    yield head + encode_record(flup.FCGI_PARAMS)
    for chunk in body:
        for start in range(0, len(chunk), STDIN_SIZE):
            yield encode_record(flup.FCGI_STDIN, chunk[start : start + STDIN_SIZE])
    yield encode_record(flup.FCGI_STDIN)


def _pack_params(params: Mapping[str, str]) -> Iterator[bytes]:
    """Yield the contents of PARAMS records, none of them empty."""
    packed = b""
    for name, value in params.items():
        pair = flup.encode_pair(name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        if packed and len(packed) + len(pair) > CONTENT_MAX:
            yield packed
            packed = b""
        packed += pair
        while len(packed) > CONTENT_MAX:
            yield packed[:CONTENT_MAX]
            packed = packed[CONTENT_MAX:]
    if packed:
        yield packed
