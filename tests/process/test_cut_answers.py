"""An answer that its worker cannot complete never looks complete to a client, whatever has ended the worker."""

from __future__ import annotations

import http.client
import itertools
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.nginx import Nginx, StartNginx
from tests.support.waiting import wait_until

CUT = (http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionResetError)
KILLED = ("exit", "abort", "crash", "kill", "term", "sleep", "in_c")
SERVER = """
include fastcgi_params;
location /buffered/ {{ fastcgi_pass unix:{0}/www.sock; }}
location /unbuffered/ {{ fastcgi_pass unix:{0}/www.sock; fastcgi_buffering off; }}
location /patient/ {{ fastcgi_pass unix:{0}/patient.sock; fastcgi_buffering off; }}
"""


def ending(server: Nginx, path: str) -> str:
    """What a client makes of an answer."""
    try:
        reply = server.get(path)
    except CUT:
        return "cut"
    return f"{reply.status} {reply.body!r}"


@contextmanager
def slow_client(fpm: Daemon, server: Nginx) -> Iterator[http.client.HTTPResponse]:
    """A client that does not read, and its worker has to wait for it in the middle of a record."""
    connection = server.connection()
    try:
        connection.request("GET", "/patient/flood")
        response = connection.getresponse()
        wait_until(lambda: "Sending" in fpm.cli("status", "patient", "--full", "--format", "table").stdout)
        yield response
    finally:
        connection.close()


def read_to_the_end(response: http.client.HTTPResponse) -> None:
    """It is cut, and what has come is what the application has sent."""
    with pytest.raises(http.client.IncompleteRead) as caught:
        response.read()
    expected = itertools.chain(
        [b"row 0\n", b"row 1\n", b"row 2\n"], (b"%07d\n" % number * 4096 for number in itertools.count())
    )
    left = caught.value.partial
    assert len(left) > 100_000
    for piece in expected:
        assert piece.startswith(left[: len(piece)])
        left = left[len(piece) :]
        if not left:
            break


def test_whatever_ends_the_worker(daemon: Start, nginx: StartNginx) -> None:
    pool = {"app": "endings:application", "pm.max_children": 8, "request_terminate_timeout": "3s"}
    fpm = daemon({"www": pool, "patient": pool | {"request_terminate_timeout": 0, "pm.max_children": 1}})
    fpm.expect_log(
        "exited (on signal|with code)",
        "said into stderr",
        "execution timed out",
        "was cut off",
        "has not exited on SIGTERM",
    )
    server = nginx(SERVER.format(fpm.directory))
    paths = [f"/{way}/{ending}" for way in ("buffered", "unbuffered") for ending in KILLED]
    with ThreadPoolExecutor(len(paths)) as clients:
        assert list(clients.map(lambda path: ending(server, path), paths)) == ["cut"] * len(paths)
    for path in ("/buffered/forked", "/unbuffered/whole"):
        assert ending(server, path) == "200 b'row 0\\nrow 1\\nrow 2\\nthe last row\\n'"
    assert server.error_log().count("invalid FastCGI record type") == len(paths), server.error_log()
    for way in ("buffered", "unbuffered"):
        endings = [ending(server, f"/{way}/file/{delay}")[:3] for delay in range(1000, 13000, 1000)]
        assert "cut" in endings
        assert set(endings) <= {"cut", "502"}, "502 is an answer of which nothing had been sent"
    with slow_client(fpm, server) as response:
        for pid in fpm.workers("patient"):
            os.kill(pid, signal.SIGKILL)
        read_to_the_end(response)
    with slow_client(fpm, server) as response:
        fpm.signal(signal.SIGTERM)
        assert fpm.wait() == 0
        read_to_the_end(response)
