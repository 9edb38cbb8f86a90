"""The HTTP gateway as a WSGI application, checked by wsgiref.validate, against a scripted FastCGI server."""

from __future__ import annotations

import io
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from fpm.client.gateway import Gateway
from fpm.client.records import TimeLimits
from fpm.config.model import UnixAddress
from fpm.errors import PeerClosed
from tests.support import raw_fastcgi
from tests.support.peer import end, out, peer, says, silent


class Call:
    """One WSGI call, as an HTTP server makes it."""

    def __init__(self, path: str, *, limits: TimeLimits | None = None, **environ: object) -> None:
        self.reports: list[tuple[str, str]] = []
        self.errors = io.StringIO()
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        gateway = Gateway(UnixAddress(path), limits=limits, report=self._take)
        values: dict[str, object] = {"QUERY_STRING": "", **environ}
        setup_testing_defaults(values)
        values["wsgi.errors"] = self.errors
        self.iterable = validator(gateway)(values, self._start)

    def _take(self, request: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.reports.append((request, outcome))

    def _start(self, status, headers, exc_info=None):
        self.status, self.headers = status, headers
        return lambda data: None

    def body(self) -> bytes:
        """The whole body; the iterable is closed in any case."""
        try:
            return b"".join(self.iterable)
        finally:
            self.iterable.close()


def test_a_response_is_passed_on() -> None:
    answer = out(
        b"Status: 201 Made\r\nContent-Type: a/b\r\nSet-Cookie: 1\r\nSet-Cookie: 2\r\nConnection: close\r\n\r\nx"
    )
    stderr = raw_fastcgi.record(raw_fastcgi.STDERR, b"a word\n")
    with peer(says(answer + stderr + out(b"y") + end())) as path:
        call = Call(path, REQUEST_URI="/a?b")
        assert call.body() == b"xy"
    assert call.status == "201 Made"
    assert call.headers == [("Content-Type", "a/b"), ("Set-Cookie", "1"), ("Set-Cookie", "2")]
    assert call.errors.getvalue() == "a word\n"
    assert call.reports == [("GET /a?b", "201")]


def test_the_body_is_passed_on_as_it_comes() -> None:
    def script(connection):
        connection.recv(65536)
        connection.sendall(out(b"Content-Type: a/b\r\n\r\nfirst"))
        connection.recv(1)
        connection.sendall(out(b"second") + end())

    with peer(script) as path:
        call = Call(path)
        pieces = iter(call.iterable)
        assert next(pieces) == b"first"
        call.iterable.close()
    assert call.reports == [("GET /", "200, the client disconnected")]


def test_a_request_body_is_passed_on() -> None:
    seen = []

    def script(connection):
        data = b""
        while not data.endswith(raw_fastcgi.record(raw_fastcgi.STDIN)):
            data += connection.recv(65536)
        seen.append(data)
        connection.sendall(out(b"Content-Type: a/b\r\n\r\n") + end())

    body = b"0123456789" * 100
    with peer(script) as path:
        environ = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "1000", "wsgi.input": io.BytesIO(body + b"next request")}
        Call(path, **environ).body()
    assert body in seen[0]
    assert b"next request" not in seen[0]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_nobody_there_is_502(method: str, tmp_path: object) -> None:
    call = Call(f"{tmp_path}/none.sock", REQUEST_METHOD=method)
    page = call.body()
    assert call.status == "502 Bad Gateway"
    assert page.startswith(b"502 Bad Gateway\n") if method == "GET" else page == b""
    assert "No such file" in call.reports[0][1]
    assert b"none.sock" not in page


def test_garbage_is_502() -> None:
    with peer(says(b"HTTP/1.1 200 OK\r\n\r\n")) as path:
        call = Call(path)
        call.body()
    assert call.status == "502 Bad Gateway"


def test_silence_is_504() -> None:
    with peer(silent) as path:
        call = Call(path, limits=TimeLimits(idle=0.05))
        call.body()
    assert call.status == "504 Gateway Timeout"


def test_a_cut_response_cuts_the_http_response() -> None:
    with peer(says(out(b"Content-Type: a/b\r\n\r\nhalf"))) as path:
        call = Call(path)
        with pytest.raises(PeerClosed):
            call.body()
    assert call.reports == [("GET /", "200, then the server closed the connection before the end of the response")]
