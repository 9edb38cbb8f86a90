"""Parts of `pyfpm serve`: static files, what counts as a change, tracebacks without our own module."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.cli.serve_django import NAME, hide_wrapper, wrapper_text
from fpm.cli.serve_failure import FailurePage, is_loopback, lacks_module, render
from fpm.cli.serve_static import Mount, answer, content_type, locate, parse_mount
from fpm.cli.serve_watch import changes, look


def ask(path: Path | None, method: str = "GET", **headers: str) -> tuple[str, dict[str, str], bytes]:
    environ = {"REQUEST_METHOD": method, **{f"HTTP_{name.upper()}": value for name, value in headers.items()}}
    status, sent, body = answer(environ, None if path is None else str(path))
    if not isinstance(body, bytes):
        file: BinaryIO = body
        with file:
            body = file.read()
    return status, dict(sent), body


def test_a_file_is_sent_once_and_then_only_if_it_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "a.css"
    file.write_text("b {}")
    os.utime(file, (1_000_000_000, 1_000_000_000))
    status, headers, body = ask(file)
    assert (status, body) == ("200 OK", b"b {}")
    assert headers["Content-Type"] == "text/css; charset=utf-8"
    assert (headers["Content-Length"], headers["Last-Modified"]) == ("4", "Sun, 09 Sep 2001 01:46:40 GMT")
    assert ask(file, "HEAD") == (status, headers, b"")
    etag, modified = headers["ETag"], headers["Last-Modified"]
    for known in ({"if_none_match": f'"x", W/{etag}'}, {"if_none_match": "*"}, {"if_modified_since": modified}):
        assert ask(file, **known)[0::2] == ("304 Not Modified", b"")
    older = "Sun, 09 Sep 2001 01:46:39 GMT"
    for other in ({"if_none_match": '"x"', "if_modified_since": modified}, {"if_modified_since": older}):
        assert ask(file, **other)[0] == "200 OK"
    assert ask(file, if_modified_since="no date")[0] == "200 OK"


def test_what_is_no_file_is_not_found(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")  # opened without waiting for a writer
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "none", None):
        assert ask(path)[0] == "404 Not Found"
    assert ask(None, "HEAD")[2] == b""
    assert ask(tmp_path, "POST")[0] == "405 Method Not Allowed"


def test_a_path_stays_in_its_directory(tmp_path: Path) -> None:
    (tmp_path / "files" / "sub").mkdir(parents=True)
    (tmp_path / "files" / "in").symlink_to("sub")
    (tmp_path / "files" / "out").symlink_to(tmp_path)
    (tmp_path / "files2").mkdir()
    mount = parse_mount(f"/static/={tmp_path}/files")
    assert mount == Mount("/static", str(tmp_path.resolve() / "files"))
    assert locate(mount, "/static//sub/./a") == f"{mount.directory}/sub/a"
    assert locate(mount, "/static/in/a") == f"{mount.directory}/sub/a"
    for path in (
        "/static/",
        "/static/../files2",
        "/static/sub/../a",
        "/static/out/files2",
        "/static/a\0",
        "/static/..",
        "/static/sub/a/",
    ):
        assert locate(mount, path) is None


@given(st.text())
def test_no_path_leaves_its_directory(path: str) -> None:
    found = locate(Mount("/s", "/proc/self/task"), f"/s/{path}")
    assert found is None or found.startswith("/proc/self/task/")


@pytest.mark.parametrize("text", ["", "/a", "a=/", "/a=", "/a=/no/such/directory"])
def test_a_mount_is_a_path_and_a_directory(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not /PATH=DIR|there is no directory"):
        parse_mount(text)


def test_types_of_files() -> None:
    assert content_type("a.svg").startswith("image/svg+xml")
    assert content_type("a.tar.gz") == content_type("a.unknown") == "application/octet-stream"


def test_sources_are_looked_at_and_environments_are_not(tmp_path: Path) -> None:
    for name in ("a.py", "b/c.html", "b/data.json", "venv/pyvenv.cfg", "venv/d.py", ".git/e.py", "__pycache__/f.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    (tmp_path / "b" / "round").symlink_to(tmp_path)
    (tmp_path / "gone.py").symlink_to("nowhere")
    before = look([str(tmp_path)])
    assert set(before) == {str(tmp_path / "a.py"), str(tmp_path / "b" / "c.html")}
    (tmp_path / "a.py").write_text("xx")
    (tmp_path / "b" / "c.html").unlink()
    (tmp_path / "new.py").write_text("x")
    expected = [str(tmp_path / name) for name in ("a.py", "b/c.html", "new.py")]
    assert changes(before, look([str(tmp_path)])) == expected
    assert look([str(tmp_path / "none")]) == {}


def test_a_traceback_does_not_show_our_module() -> None:
    text = wrapper_text("shop.wsgi:site.application")
    compile(text, "x", "exec")
    assert "from shop.wsgi import site\n" in text
    assert "\napplication = site.application\n" in text
    traceback = (
        'Traceback (most recent call last):\n  File "/tmp/x/d.py", line 1, in <module>\n    from a import b\n'
        '    ^^^^\n  File "/srv/a.py", line 2, in <module>\n    1 / 0\nZeroDivisionError: division by zero\n'
    )
    assert hide_wrapper(traceback, "/tmp/x/d.py", "a:b") == (
        'Traceback (most recent call last):\n  File "/srv/a.py", line 2, in <module>\n    1 / 0\n'
        "ZeroDivisionError: division by zero\n"
    )
    assert hide_wrapper(f"app = /tmp/x/d.py:{NAME}: it is none", "/tmp/x/d.py", "a:b") == "app = a:b: it is none"


def test_only_this_machine_sees_a_traceback_and_only_while_there_is_one() -> None:
    failure: list[str | None] = ["Traceback: <secret>"]
    seen: list[str] = []

    def application(environ: object, start_response: object) -> list[bytes]:
        return [b"the pool's answer"]

    def get(address: str, method: str = "GET") -> bytes:
        page = FailurePage(application, "shop:app", lambda: failure[0], lambda *report: seen.append(report[1]))
        environ = {"REMOTE_ADDR": address, "REQUEST_METHOD": method, "PATH_INFO": "/"}
        return b"".join(page(environ, lambda status, headers: seen.append(status)))

    assert b"Traceback: <secret>" in get("127.0.0.1")
    assert seen == ["503 Service Unavailable", "503"]
    assert get("127.0.0.1", "HEAD") == b""
    for other in ("192.0.2.1", "::ffff:192.0.2.1", "", "localhost"):
        assert get(other) == b"the pool's answer"
    failure[0] = None
    assert get("127.0.0.1") == b"the pool's answer"
    assert all(is_loopback(address) for address in ("127.0.0.2", "::1", "::ffff:127.0.0.1"))
    assert render("a:b", "<secret>\udc80", "text/html, */*")[1].count(b"&lt;secret&gt;") == 1


@pytest.mark.parametrize(
    ("app", "failure", "expected"),
    [
        ("shop:app", "ModuleNotFoundError: No module named 'shop'\n", True),
        ("shop.web:app", "ModuleNotFoundError: No module named 'shop'", True),
        ("shop.web:app", "ModuleNotFoundError: No module named 'shop.web'; 'shop' is not a package", True),
        ("shop:app", "ModuleNotFoundError: No module named 'sho'", False),
        ("shop:app", "ModuleNotFoundError: No module named 'flask'", False),
        ("shop:app", "Traceback (most recent call last):\nModuleNotFoundError: No module named 'shop'", False),
        ("shop:app", "", False),
    ],
)
def test_a_module_that_is_nowhere_is_told_from_one_that_lacks_another(app: str, failure: str, expected: bool) -> None:
    assert lacks_module(app, failure) is expected
