"""Real workers behind a real HAProxy: statuses, and requests that it sends before the answer to the first has ended."""

from __future__ import annotations

import http.client
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.directories import close_directory, open_directory
from tests.support.nginx import UnixHttp
from tests.support.processes import Child, spawn_logged
from tests.support.starting_servers import find_program
from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerPool

CONFIGURATION = """
global
    maxconn 200
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
fcgi-app shop
    docroot /srv
    {option}
frontend web
    bind unix@{directory}/http.sock mode 666
    default_backend shop
backend shop
    use-fcgi-app shop
    server one unix@{address} proto fcgi
"""

pytestmark = pytest.mark.skipif(find_program("haproxy") is None, reason="haproxy is not installed")


@pytest.fixture(params=["", "option mpxs-conns"], ids=["default", "mpxs-conns"])
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """The socket of an HAProxy before two workers."""
    directory = open_directory()
    with WorkerPool("protocol:application", workers=2) as pool:
        file = directory / "haproxy.cfg"
        values = {"option": request.param, "directory": directory, "address": pool.address}
        file.write_text(CONFIGURATION.format(**values))
        command = [str(find_program("haproxy")), "-db", "-f", str(file)]
        process = Child(spawn_logged(command, {"PATH": "/usr/bin:/bin"}, directory / "stderr.log"))

        def listens() -> bool:
            assert process.alive(), (directory / "stderr.log").read_text()
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(str(directory / "http.sock")) == 0

        try:
            wait_until(listens, message="haproxy does not listen")
            yield str(directory / "http.sock")
        finally:
            process.signal(signal.SIGTERM)
            if process.wait(10.0) is None:
                process.signal(signal.SIGKILL)
                process.wait(10.0)
            close_directory(directory)


def ask(client: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    client.request(method, path, body=body)
    response = client.getresponse()
    return response.status, response.read()


def test_requests_one_after_the_other_and_at_once(path: str) -> None:
    def visit(number: int) -> None:
        """HAProxy has the last byte of /late, and of /large by HEAD, before the worker has sent END_REQUEST."""
        client = UnixHttp(path)
        try:
            for _ in range(3):
                assert ask(client, "GET", "/redirect") == (301, b"moved")
                assert ask(client, "HEAD", "/large?300000") == (200, b"")
                assert ask(client, "GET", "/late?0.1") == (200, b"late")
                assert ask(client, "POST", "/ignore", b"x" * 300_000) == (200, b"did not look at the body")
                assert ask(client, "GET", "/large?300000") == (200, b"x" * 300_000)
        finally:
            client.close()

    visit(0)
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(visit, range(8)))
