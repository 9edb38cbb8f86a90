"""FastCGI 1.0 from the specification's bytes, independent of fpm.fastcgi and of flup."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = range(1, 12)
RESPONDER, AUTHORIZER, FILTER = 1, 2, 3
KEEP_CONN = 1
COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE = range(4)

Address = str | tuple[str, int]
Pairs = Mapping[str, str] | Iterable[tuple[str, str]]


def record(kind: int, content: bytes = b"", *, request: int = 1, padding: int = 0, version: int = 1) -> bytes:
    """One record; content is at most 65535 bytes."""
    return struct.pack(">BBHHBB", version, kind, request, len(content), padding, 0) + content + b"\0" * padding


def stream(kind: int, data: bytes, *, request: int = 1, size: int = 65535, end: bool = True) -> bytes:
    """A stream cut into records of `size` bytes, closed by an empty one when `end`."""
    records = [record(kind, data[at : at + size], request=request) for at in range(0, len(data), size)]
    return b"".join(records) + (record(kind, request=request) if end else b"")


def begin(*, role: int = RESPONDER, flags: int = 0, request: int = 1) -> bytes:
    """FCGI_BEGIN_REQUEST."""
    return record(BEGIN, struct.pack(">HB5x", role, flags), request=request)


def _length(number: int) -> bytes:
    return bytes([number]) if number < 128 else struct.pack(">I", number | 0x80000000)


def pairs(values: Pairs) -> bytes:
    """Name-value pairs; text goes as latin-1, a surrogate-free way to say any byte."""
    items = values.items() if isinstance(values, Mapping) else values
    out = b""
    for name, value in items:
        key, content = name.encode("latin-1"), value.encode("latin-1")
        out += _length(len(key)) + _length(len(content)) + key + content
    return out


def unpairs(data: bytes) -> list[tuple[str, str]]:
    """The opposite of `pairs`."""
    found, at = [], 0
    while at < len(data):
        sizes = []
        for _ in range(2):
            if data[at] < 128:
                sizes.append(data[at])
                at += 1
            else:
                sizes.append(struct.unpack_from(">I", data, at)[0] & 0x7FFFFFFF)
                at += 4
        name, value = data[at : at + sizes[0]], data[at + sizes[0] : at + sizes[0] + sizes[1]]
        at += sizes[0] + sizes[1]
        found.append((name.decode("latin-1"), value.decode("latin-1")))
    return found


def web_params(path: str = "/", *, method: str = "GET", query: str = "", body: bytes = b"") -> dict[str, str]:
    """What nginx's stock `include fastcgi_params` sends; CONTENT_LENGTH is empty without a body."""
    return {
        "QUERY_STRING": query,
        "REQUEST_METHOD": method,
        "CONTENT_TYPE": "application/octet-stream" if body else "",
        "CONTENT_LENGTH": str(len(body)) if body else "",
        "SCRIPT_NAME": path,
        "REQUEST_URI": path + ("?" + query if query else ""),
        "DOCUMENT_URI": path,
        "DOCUMENT_ROOT": "/usr/share/nginx/html",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_SCHEME": "http",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "nginx/1.22.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50000",
        "SERVER_ADDR": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_NAME": "",
        "REDIRECT_STATUS": "200",
        "HTTP_HOST": "localhost",
    }


def request_bytes(params: Pairs, body: bytes = b"", *, flags: int = 0, request: int = 1) -> bytes:
    """A whole request: BEGIN, PARAMS, STDIN, each stream closed."""
    head = begin(flags=flags, request=request) + stream(PARAMS, pairs(params), request=request)
    return head + stream(STDIN, body, request=request)


@dataclass
class Reply:
    """All that came for one request, up to END_REQUEST or the end of the connection."""

    stdout: bytes = b""
    stderr: bytes = b""
    ended: bool = False
    app_status: int = -1
    protocol_status: int = -1
    others: list[tuple[int, int, bytes]] = field(default_factory=list)
    """Records of other types or other requests: (type, request id, content)."""

    @property
    def head(self) -> list[tuple[str, str]]:
        """Header lines in their order."""
        lines = self.stdout.split(b"\r\n\r\n", 1)[0].decode("latin-1").split("\r\n")
        return [(name, value.lstrip(" ")) for name, _, value in (line.partition(":") for line in lines if line)]

    @property
    def headers(self) -> dict[str, str]:
        """Headers by lower-case name, the last one wins."""
        return {name.lower(): value for name, value in self.head}

    @property
    def status(self) -> int:
        """The HTTP status; without a Status header it is 200 (CGI, RFC 3875 section 6.2.1)."""
        return int(self.headers.get("status", "200").split()[0])

    @property
    def body(self) -> bytes:
        """What follows the headers; an AssertionError if there is no end of headers."""
        head, end, body = self.stdout.partition(b"\r\n\r\n")
        assert end, f"no end of headers in {head[:200]!r}"
        return body


def _family(address: Address) -> socket.AddressFamily:
    if isinstance(address, str):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


class Wire:
    """One connection to a FastCGI server."""

    def __init__(self, address: Address, *, timeout: float = 60.0) -> None:
        self.socket = socket.socket(_family(address), socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self._buffer = b""
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def _exactly(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                return None
            self._buffer += more
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def read_record(self) -> tuple[int, int, bytes] | None:
        """(type, request id, content) of the next record; None at the end of the connection, however it came."""
        header = self._exactly(8)
        if header is None:
            return None
        version, kind, request, length, padding, _ = struct.unpack(">BBHHBB", header)
        assert version == 1, f"not FastCGI 1: {header!r}"
        content = self._exactly(length + padding)
        return None if content is None else (kind, request, content[:length])

    def read_buffered(self) -> bytes:
        """What has come behind the records that were read."""
        data, self._buffer = self._buffer, b""
        return data

    def read_reply(self, request: int = 1) -> Reply:
        """Everything up to this request's END_REQUEST or the end of the connection."""
        reply = Reply()
        while (got := self.read_record()) is not None:
            kind, number, content = got
            if number != request or kind not in (STDOUT, STDERR, END):
                reply.others.append(got)
            elif kind == STDOUT:
                reply.stdout += content
            elif kind == STDERR:
                reply.stderr += content
            else:
                reply.ended = True
                reply.app_status, reply.protocol_status = struct.unpack(">IB3x", content)
                return reply
        return reply

    def at_end(self) -> bool:
        """Whether the peer closed (its half of) the connection; waits for it up to the time limit."""
        return self._exactly(1) is None


def exchange(address: Address, params: Pairs, body: bytes = b"", *, flags: int = 0, timeout: float = 60.0) -> Reply:
    """One request on a connection of its own."""
    with Wire(address, timeout=timeout) as wire:
        wire.send(request_bytes(params, body, flags=flags))
        return wire.read_reply()


def get(address: Address, path: str = "/", *, query: str = "", timeout: float = 60.0) -> Reply:
    """GET with the parameters nginx would send."""
    return exchange(address, web_params(path, query=query), timeout=timeout)
