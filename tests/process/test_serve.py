"""`pyfpm serve`: from an application in a directory to a page in a browser, and nothing left afterwards."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.directories import opened_directory
from tests.support.interpreter import pyfpm_command
from tests.support.processes import descendants, end_strays
from tests.support.waiting import wait_until

APPS = Path(__file__).parent.parent / "apps"
BANNER = re.compile(r"on http://(127\.0\.0\.1):([0-9]+)/")


class Serve:
    """A running `pyfpm serve`."""

    def __init__(
        self, directory: Path, *arguments: str, cwd: Path = APPS, environ: dict[str, str] | None = None
    ) -> None:
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self._log = directory / "log"
        variables = {**os.environ, "TMPDIR": str(self.temporary), "PYTHONUNBUFFERED": "1", **(environ or {})}
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [pyfpm_command(), "serve", "--bind", "127.0.0.1:0", *arguments],
                cwd=cwd,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.family: list[psutil.Process] = []

    def output(self) -> str:
        return self._log.read_text()

    def wait_port(self) -> int:
        """The port of the HTTP gateway, once it says so."""

        def banner() -> re.Match[str] | None:
            assert self.process.poll() is None, self.output()
            return BANNER.search(self.output())

        found = wait_until(banner, message="no banner")
        self.family = descendants(self.process.pid)
        return int(found[2])

    def request(self, port: int, path: str, *, method: str = "GET", body: object = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request(method, path, body=body)  # type: ignore[arg-type]
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def stop(self, number: int) -> None:
        """Stop it as a terminal or systemd would, and look for what it left."""
        self.process.send_signal(number)
        assert self.process.wait(20) == 0, self.output()
        assert end_strays(self.family) == []
        assert list(self.temporary.iterdir()) == []


@contextmanager
def serving(*arguments: str, **options: object) -> Iterator[Serve]:
    with opened_directory() as directory:
        serve = Serve(directory, *arguments, **options)  # type: ignore[arg-type]
        try:
            yield serve
        finally:
            if serve.process.poll() is None:
                family = descendants(serve.process.pid)
                serve.process.kill()
                serve.process.wait()
                end_strays(family)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_and_leaves_nothing(number: int) -> None:
    with serving("echo:application") as serve:
        port = serve.wait_port()
        status, body = serve.request(port, "/a?b=c", method="POST", body=b"x" * 1_000_000)
        assert status == 200, serve.output()
        assert b'"length": 1000000' in body
        assert b'"PATH_INFO": "/a"' in body
        serve.stop(number)
        output = serve.output()
    assert "include fastcgi_params;" in output
    assert "app = echo:application" in output
    assert "POST /a?b=c 200" in output
    assert "Traceback" not in output


def test_an_exception_is_shown_on_the_terminal() -> None:
    with serving("trouble:application") as serve:
        port = serve.wait_port()
        status, body = serve.request(port, "/before")
        assert status == 500
        assert b"before the headers" not in body
        wait_until(lambda: "RuntimeError: before the headers" in serve.output(), message="no traceback")
        serve.stop(signal.SIGINT)


def test_a_body_in_pieces_comes_in_pieces() -> None:
    with serving("stream:application") as serve:
        port = serve.wait_port()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/?2,5,20")
        response = connection.getresponse()
        assert response.read1(5) == b"aaaaa"
        serve.stop(signal.SIGINT)
        connection.close()


def test_an_application_that_fails_to_import_ends_it_with_the_traceback() -> None:
    with serving("broken_import:application") as serve:
        assert serve.process.wait(30) == 1
        output = serve.output()
        assert list(serve.temporary.iterdir()) == []
    assert "No module named 'a_module_that_does_not_exist'" in output
    assert "broken_import.py" in output
    assert "broken_import:application cannot be imported" in output


def test_a_directory_with_modules_named_like_ours(tmp_path: Path) -> None:
    """The pool's directory is for the application, not for pyfpm's own imports."""
    (tmp_path / "click.py").write_text("raise RuntimeError('imported the wrong click')")
    (tmp_path / "my app; $pool.py").write_text((APPS / "hello.py").read_text())
    with serving("my app; $pool.py:application", cwd=tmp_path) as serve:
        port = serve.wait_port()
        assert serve.request(port, "/") == (200, b"Hello, world\n")
        serve.stop(signal.SIGTERM)


def test_the_port_is_taken() -> None:
    with serving("hello:application") as first:
        port = first.wait_port()
        with serving("hello:application", "--bind", f"127.0.0.1:{port}") as second:
            assert second.process.wait(20) == 1
            assert f"cannot listen on 127.0.0.1:{port}: the address is in use by another process" in second.output()
        first.stop(signal.SIGINT)


def test_the_end_of_the_master_is_the_end_of_it_all() -> None:
    with serving("hello:application") as serve:
        serve.wait_port()
        master = next(p for p in serve.family if "master process" in " ".join(p.cmdline()))
        master.kill()
        assert serve.process.wait(20) == 1
        assert "the pool's master exited with status -9" in serve.output()
        assert end_strays(serve.family) == []
        assert list(serve.temporary.iterdir()) == []


def test_a_killed_serve_takes_its_pool_along() -> None:
    with serving("hello:application") as serve:
        serve.wait_port()
        serve.process.kill()
        serve.process.wait()
        assert end_strays(serve.family, timeout=20) == []
