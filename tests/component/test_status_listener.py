"""The client of [global] status_listen: every form of its address, and answers that are none."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from fpm.client import status_listener
from fpm.client.status_listener import ListenerError, PoolPage, fetch_pools
from tests.support.pools import free_port

PAGE = '[{"pool":"shop","failed":0},{"pool":"a is b","failed":1}]'
READY = "the daemon is stopping\npool a is b is failed\n"


class _Answering(BaseHTTPRequestHandler):
    answers: dict[str, tuple[int, str]]
    hosts: list[str]

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        status, body = self.answers[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""

    def address_string(self) -> str:
        return ""


@contextmanager
def serving(where: int | str, status: tuple[int, str], ready: tuple[int, str]) -> Iterator[list[str]]:
    """Answer these at a port or a Unix socket, also below /monitor; the value is what clients call us."""
    kind = socketserver.ThreadingTCPServer if isinstance(where, int) else socketserver.ThreadingUnixStreamServer
    answers = {"/status?json": status, "/readyz": ready}
    answers |= {f"/monitor{path}": answer for path, answer in answers.items()}
    hosts: list[str] = []
    handler = type("Handler", (_Answering,), {"answers": answers, "hosts": hosts})
    address = ("127.0.0.1", where) if isinstance(where, int) else where
    with kind(address, handler) as server:  # type: ignore[arg-type]  # either kind with its address
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield hosts
        finally:
            server.shutdown()
            thread.join(60)


GOOD = ((200, PAGE), (503, READY))


def test_every_form_of_an_address(directory: Path) -> None:
    port, path = free_port(), directory / "status.sock"
    with serving(port, *GOOD), serving(str(path), *GOOD) as hosts:
        forms = [f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}/monitor/", f"127.0.0.1:{port}", str(port)]
        for address in (*forms, str(path), f"unix:{path}"):
            assert fetch_pools(address) == [
                PoolPage("shop", "stopping", {"pool": "shop", "failed": 0}),
                PoolPage("a is b", "failed", {"pool": "a is b", "failed": 1}),
            ]
    assert set(hosts) == {"localhost"}, "a name that is always allowed"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ((403, ""), "this client is not in status_allow"),
        ((421, ""), "add the name to status_listen.hosts"),
        ((404, ""), "is this the address of"),
        ((503, ""), "the master does not answer"),
        ((200, "<html>"), "is not [global] status_listen of pyfpm"),
        ((200, '{"pool": "x"}'), "is not [global] status_listen of pyfpm"),
        ((200, "[1]"), "is not [global] status_listen of pyfpm"),
    ],
)
def test_answers_that_are_none(directory: Path, status: tuple[int, str], said: str) -> None:
    path = str(directory / "status.sock")
    with serving(path, status, (200, "ok\n")), pytest.raises(ListenerError) as caught:
        fetch_pools(path)
    assert said in str(caught.value)
    assert path in str(caught.value)


def test_nobody_is_there(directory: Path) -> None:
    for address in (f"127.0.0.1:{free_port()}", str(directory / "no.sock")):
        with pytest.raises(ListenerError, match=r"nothing answers at .*: does pyfpm run, and is this"):
            fetch_pools(address)
    for address in ("localhost", "127.0.0.1:0", "http://127.0.0.1:x", "127.0.0.1:http"):
        with pytest.raises(ListenerError, match="is no address"):
            fetch_pools(address)


def test_what_answers_is_no_web_server_or_nothing_comes(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Garbage(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(b"220 mail\r\n")

    path = str(directory / "status.sock")
    with socketserver.ThreadingUnixStreamServer(path, Garbage) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            with pytest.raises(ListenerError, match="speaks no HTTP"):
                fetch_pools(path)
        finally:
            server.shutdown()
            thread.join(60)
    monkeypatch.setattr(status_listener, "ANSWER_TIME", 0.1)
    with socketserver.UnixStreamServer(str(directory / "deaf.sock"), Garbage), pytest.raises(ListenerError) as caught:
        fetch_pools(str(directory / "deaf.sock"))
    assert "no answer within 0.1 s" in str(caught.value)
