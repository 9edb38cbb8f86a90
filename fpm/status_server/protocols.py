"""Speaks HTTP or FastCGI with a client: the first byte decides, for a FastCGI record begins with its version, 1."""

from __future__ import annotations

import socket
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from fpm.errors import ProtocolError
from fpm.fastcgi.connection import Connection
from fpm.fastcgi.constants import VERSION, RecordType
from fpm.fastcgi.events import NEED_DATA, Reply, RequestBegun
from fpm.fastcgi.records import pack_finish, pack_stream
from fpm.status_server.site import Request, Site, decode_target, host_of_target
from fpm.wsgi.environ import complete_environ

TIMEOUT = 10.0
"""Seconds that a client may keep silent in the middle of something."""
LINGER = 1.0
"""Seconds in which a client that still sends something may read our answer: a close would take it away from it."""
RECEIVE = 65536


class ClientConnection:
    """A connected client.

    Attributes:
        since: monotonic time of the last complete request, or of the connection.
    """

    def __init__(self, client: socket.socket, address: str, site: Site) -> None:
        self.client = client
        self.address = address
        self.site = site
        self.since = time.monotonic()

    def run(self) -> None:
        """Serve the client to the end of its connection, in a thread of its own."""
        with self.client:
            try:
                self.client.settimeout(TIMEOUT)
                first = self.client.recv(1, socket.MSG_PEEK)
                if first == bytes([VERSION]):
                    _FastCgi(self).run()
                elif first:
                    _Http(self.client, (self.address, 0), self)  # type: ignore[arg-type]  # it wants no server of us
            except (OSError, ProtocolError):
                return  # the client has gone, or speaks neither

    def end(self) -> None:
        """Close the connection from another thread."""
        try:
            self.client.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has gone by itself


class _Http(BaseHTTPRequestHandler):
    """The standard library parses; its limits are 64 KiB a line and 100 headers."""

    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT
    server: Any
    """The ClientConnection (the standard library calls it so)."""

    def version_string(self) -> str:
        """Return the Server header."""
        return "pyfpm"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: probes come every second."""

    def do_GET(self) -> None:
        """Answer a request; see http.server."""
        connection: ClientConnection = self.server
        path, query = decode_target(self.path)
        hosts = [*self.headers.get_all("Host", []), *host_of_target(self.path)]
        answer = connection.site.answer_to(connection.address or None, Request(path, query), hosts)
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # its body is not read
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        connection.since = time.monotonic()

    do_HEAD = do_GET


class _FastCgi:
    """Serves a web server that passes requests on, or a monitor that speaks FastCGI itself."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._client = connection.client
        self._machine = Connection(max_conns=1, max_reqs=1)

    def run(self) -> None:
        """Answer requests until the client goes, or wants its connection closed.

        Raises:
            OSError: the client is gone.
            ProtocolError: it does not speak FastCGI.
        """
        while data := self._client.recv(RECEIVE):
            self._machine.receive_data(data)
            while (event := self._machine.next_event()) is not NEED_DATA:
                keep = True
                if isinstance(event, RequestBegun):
                    # Not after the end of its body: some monitors never send that.
                    self._send(event.request_id, self._answer(event.params))
                    self._machine.end_request()
                    self._connection.since = time.monotonic()
                    keep = event.keep
                elif isinstance(event, Reply):
                    self._client.sendall(event.data)
                    keep = not event.close
                if not keep:
                    self._linger()
                    return

    def _answer(self, params: dict[str, str]) -> bytes:
        environ: dict[str, Any] = dict(params)
        path = complete_environ(environ, None)
        request = Request(path, environ["QUERY_STRING"])
        answer = self._connection.site.answer_to(environ.get("REMOTE_ADDR"), request)
        lines = [f"{name}: {value}\r\n" for name, value in answer.headers]
        if answer.status is not HTTPStatus.OK:
            lines.insert(0, f"Status: {answer.status.value} {answer.status.phrase}\r\n")
        return "".join(lines).encode() + b"\r\n" + (b"" if environ["REQUEST_METHOD"] == "HEAD" else answer.body)

    def _send(self, request_id: int, data: bytes) -> None:
        records = [*pack_stream(RecordType.STDOUT, request_id, data), pack_finish(request_id)]
        self._client.sendall(b"".join(records))

    def _linger(self) -> None:
        self._client.shutdown(socket.SHUT_WR)
        self._client.settimeout(LINGER)
        end = time.monotonic() + LINGER
        while time.monotonic() < end and self._client.recv(RECEIVE):
            continue
