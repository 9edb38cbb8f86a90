"""`pyfpm serve`: from an application in a directory to a page in a browser, and nothing left afterwards."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.directories import opened_directory
from tests.support.fpm import title_of
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

    def wait_for(self, text: str, count: int = 1) -> None:
        """Wait until the output has a text so many times."""
        wait_until(lambda: self.output().count(text) >= count, message=f"no {text!r}")

    def request(self, port: int, path: str, *, method: str = "GET", body: object = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request(method, path, body=body)  # type: ignore[arg-type]
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def stop(self, number: int) -> None:
        """Stop it as a terminal or systemd would, and look for what it left."""
        self.process.send_signal(number)
        assert self.process.wait(60) == 0, self.output()
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
    assert f"pyfpm init echo --directory {APPS} --app echo:application\n" in output
    assert re.search(r"^\d\d:\d\d:\d\d POST /a\?b=c 200 \d+ ms$", output, re.MULTILINE)
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
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/?2,5,20")
        response = connection.getresponse()
        assert response.read1(5) == b"aaaaa"
        serve.stop(signal.SIGINT)
        connection.close()


def test_an_application_that_fails_to_import_ends_it_with_the_traceback() -> None:
    with serving("--no-reload", "broken_import:application") as serve:
        assert serve.process.wait(60) == 1
        output = serve.output()
        assert list(serve.temporary.iterdir()) == []
    assert "No module named 'a_module_that_does_not_exist'" in output
    assert "broken_import.py" in output
    assert "broken_import:application cannot be imported" in output


@pytest.mark.parametrize(
    ("target", "mistake", "reason"),
    [
        ("shop:application", "import not_there", "ModuleNotFoundError: No module named 'not_there'"),
        ("shop.py", "def broken(", "SyntaxError: '(' was never closed"),
        ("", "1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_an_application_that_fails_to_import_is_served_once_corrected(
    tmp_path: Path, target: str, mistake: str, reason: str
) -> None:
    app = (APPS / "hello.py").read_text()
    write(tmp_path, {"shop.py": f"{app}\n{mistake}\n", "files/a.css": "b {}"})
    with serving(*filter(None, [target]), "--static", f"/static={tmp_path}/files", cwd=tmp_path) as serve:
        port = serve.wait_port()
        serve.wait_for("shop:application cannot be imported; waiting for a change ...")
        status, page = serve.request(port, "/any?path")
        assert (status, reason in page.decode()) == (503, True)
        assert serve.request(port, "/static/a.css") == (200, b"b {}")
        write(tmp_path, {"shop.py": f"{app}\nraise LookupError('still')\n"})
        serve.wait_for("shop:application still cannot be imported; waiting for a change ...")
        assert b"LookupError: still" in serve.request(port, "/")[1]
        write(tmp_path, {"shop.py": app})
        wait_until(lambda: serve.request(port, "/") == (200, b"Hello, world\n"), message=serve.output)
        serve.stop(signal.SIGINT)
        output = serve.output()
    assert output.count(reason) == 1, "each is printed once"
    assert "shop.py changed, reloading\n" in output
    assert "GET /any?path 503 " in output


def test_a_mistake_in_djangos_settings_is_shown_until_it_is_corrected(tmp_path: Path) -> None:
    django = Path(sys.executable).with_name("django-admin")
    subprocess.run([django, "startproject", "mysite", tmp_path], check=True, timeout=60)
    settings = tmp_path / "mysite" / "settings.py"
    good = settings.read_text()
    write(settings.parent, {settings.name: good.replace("INSTALLED_APPS = [", "INSTALLED_APPS = ['no_such_app',")})
    with serving(cwd=tmp_path) as serve:
        port = serve.wait_port()
        status, page = serve.request(port, "/admin/login/")
        assert (status, b"No module named 'no_such_app'" in page) == (503, True)
        assert str(serve.temporary).encode() not in page
        write(settings.parent, {settings.name: good.replace("INSTALLED_APPS = [", "INSTALLED_APPS = ]")})
        serve.wait_for("SyntaxError: unmatched ']'")
        write(settings.parent, {settings.name: good})
        wait_until(lambda: serve.request(port, "/admin/login/")[0] == 200, message=serve.output)
        serve.stop(signal.SIGTERM)


def test_a_mistake_in_the_first_import_can_be_left_by_a_signal(tmp_path: Path) -> None:
    write(tmp_path, {"shop.py": "import not_there\n"})
    with serving("shop:application", cwd=tmp_path) as serve:
        serve.wait_for("waiting for a change ...")
        serve.stop(signal.SIGINT)


def test_a_directory_with_modules_named_like_ours(tmp_path: Path) -> None:
    """The pool's directory is for the application, not for pyfpm's own imports."""
    (tmp_path / "click.py").write_text("raise RuntimeError('imported the wrong click')")
    (tmp_path / "my app; $pool.py").write_text((APPS / "hello.py").read_text())
    with serving("my app; $pool.py:application", cwd=tmp_path) as serve:
        port = serve.wait_port()
        assert serve.request(port, "/") == (200, b"Hello, world\n")
        serve.stop(signal.SIGTERM)


@pytest.mark.parametrize("active", [False, True])
def test_the_virtual_environment_of_the_project_is_used_if_none_is_active(tmp_path: Path, active: bool) -> None:
    (tmp_path / "web.py").write_text(
        "import sys\n\n\ndef application(environ, start_response):\n"
        "    start_response('200 OK', [])\n    return [sys.prefix.encode()]\n"
    )
    for path in ("venv", "elsewhere"):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / path], check=True)
    environ = {"VIRTUAL_ENV": str(tmp_path / "elsewhere") if active else ""}
    expected = tmp_path / ("elsewhere" if active else "venv")
    with serving("web.py", cwd=tmp_path, environ=environ) as serve:
        status, body = serve.request(serve.wait_port(), "/")
        assert (status, body.decode()) == (200, str(expected)), serve.output()
        serve.stop(signal.SIGINT)
        assert f"{tmp_path}, {expected}/bin/python\n" in serve.output()


def test_the_port_is_taken() -> None:
    with serving("hello:application") as first:
        port = first.wait_port()
        with serving("hello:application", "--bind", f"127.0.0.1:{port}") as second:
            assert second.process.wait(60) == 1
            assert f"cannot listen on 127.0.0.1:{port}: the address is in use by another process" in second.output()
        first.stop(signal.SIGINT)


def test_the_end_of_the_master_is_the_end_of_it_all() -> None:
    with serving("hello:application") as serve:
        serve.wait_port()
        master = next(p for p in serve.family if "master process" in title_of(p))
        master.kill()
        assert serve.process.wait(60) == 1
        assert "the pool's master exited with status -9" in serve.output()
        assert end_strays(serve.family) == []
        assert list(serve.temporary.iterdir()) == []


def test_a_killed_serve_takes_its_pool_along() -> None:
    with serving("hello:application") as serve:
        serve.wait_port()
        serve.process.kill()
        serve.process.wait()
        assert end_strays(serve.family) == []


def write(directory: Path, files: dict[str, str]) -> None:
    """Files that are whole when they get their names: who watches sees none that is half written."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.new")
        new.write_text(text)
        new.rename(path)


def test_a_change_is_served_once_it_imports_and_static_files_beside_it(tmp_path: Path) -> None:
    app = "from text import TEXT\ndef app(environ, start):\n    start('200 OK', [])\n    return [TEXT]\n"
    write(tmp_path, {"site/shop.py": app, "site/text.py": "TEXT = b'old'\n", "files/a.css": "b {}", "secret": "no"})
    static = ("--static", f"/static={tmp_path}/files")
    (tmp_path / "files" / "link").symlink_to(tmp_path / "secret")
    with serving("shop.py", *static, cwd=tmp_path / "site") as serve:
        port = serve.wait_port()
        assert serve.request(port, "/") == (200, b"old")
        assert serve.request(port, "/static/a.css") == (200, b"b {}")
        for path in ("/static/../secret", "/static/%2e%2e/secret", "/static/link", "/static/", "/static/b.css"):
            assert serve.request(port, path)[0] == 404
        assert serve.request(port, "/staticfiles") == (200, b"old")
        write(tmp_path, {"site/text.py": "TEXT = b'broken' +\n"})
        serve.wait_for("reload failed, the old code serves")
        output = serve.output()
        assert re.search(r'^  File ".*/site/text.py", line 1\n    TEXT = ', output, re.MULTILINE), output
        assert serve.request(port, "/") == (200, b"old")
        write(tmp_path, {"site/text.py": "TEXT = b'corrected'\n"})
        serve.wait_for(" reloaded")
        assert serve.request(port, "/") == (200, b"corrected")
        serve.stop(signal.SIGINT)
        output = serve.output()
    assert re.search(r"^\d\d:\d\d:\d\d text.py changed, reloading$", output, re.MULTILINE)
    assert "GET /static/a.css 200 " in output
    assert str(serve.temporary) not in output


def test_djangos_admin_has_its_style_and_a_broken_view_is_not_served(tmp_path: Path) -> None:
    django = Path(sys.executable).with_name("django-admin")
    subprocess.run([django, "startproject", "mysite", tmp_path], check=True, timeout=60)
    with serving("manage.py", cwd=tmp_path) as serve:
        port = serve.wait_port()
        status, page = serve.request(port, "/admin/login/")
        assert status == 200
        (style,) = re.findall(rb'href="(/static/admin/css/base.css)"', page)
        status, css = serve.request(port, style.decode())
        assert (status, b"--primary" in css) == (200, True)
        urls = tmp_path / "mysite" / "urls.py"
        good = urls.read_text()
        write(urls.parent, {urls.name: good + "import no_such_module\n"})
        serve.wait_for("reload failed, the old code serves")
        output = serve.output()
        assert "ModuleNotFoundError: No module named 'no_such_module'" in output
        assert serve.request(port, "/admin/login/")[0] == 200
        serve.stop(signal.SIGINT)
        output = serve.output()
    assert str(serve.temporary) not in output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("no_such_module",), "there is no no_such_module.py"),
        (("no_such_module:app",), "there is no module no_such_module, neither in "),
        (("no_such_file.py:app",), "there is no file no_such_file.py"),
        (("hello:application", "--bind", "8000"), "'8000' is not HOST:PORT"),
        (("hello:application", "--static", "/static"), "'/static' is not /PATH=DIR"),
        (("hello:a-b",), "found 'hello:a-b'"),
    ],
)
def test_a_mistake_in_the_call_is_one(arguments: tuple[str, ...], expected: str) -> None:
    with serving(*arguments) as serve:
        assert serve.process.wait(60) == 64
        assert expected in serve.output()
        assert "Traceback" not in serve.output()
