"""`pyfpm ping` and `pyfpm request` against a scripted server, as a user types them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import raw_fastcgi
from tests.support.peer import end, out, peer, says, silent

PROGRAM = "import sys; from fpm.cli.fastcgi_commands import {0}; {0}()"
PONG = out(b"Content-Type: text/plain\r\n\r\npong") + end()


def run(command: str, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    line = [sys.executable, "-W", "error", "-c", PROGRAM.format(command), *arguments]
    return subprocess.run(line, input=stdin, capture_output=True, timeout=60, check=False)


def test_ping() -> None:
    with peer(says(PONG)) as path:
        done = run("ping", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"pong\n", b"")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (out(b"Content-Type: text/plain\r\n\r\nhello") + end(), b"answered 200 'hello', expected 'pong'"),
        (out(b"Status: 503 Sorry\r\n\r\npong") + end(), b"answered 503 'pong'"),
        (b"", b"closed the connection"),
        (b"SSH-2.0-x\r\n", b"does not speak FastCGI"),
    ],
)
def test_ping_without_pong(answer: bytes, words: bytes) -> None:
    with peer(says(answer)) as path:
        done = run("ping", path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert words in done.stderr
    assert path.encode() in done.stderr
    assert (b"needs ping.path = /ping" in done.stderr) is (b"answered" in words)


def test_ping_of_a_silent_server_is_bounded() -> None:
    with peer(silent) as path:
        done = run("ping", "--timeout", "0.1", path)
    assert done.returncode == 1
    assert b"no complete response within 0.1 s" in done.stderr


def test_ping_of_nobody(tmp_path: Path) -> None:
    done = run("ping", str(tmp_path / "none.sock"))
    assert done.returncode == 1
    assert b"No such file or directory" in done.stderr


@pytest.mark.parametrize("target", ["www", "host:port"])
def test_what_is_no_socket_is_a_usage_error(target: str) -> None:
    done = run("ping", target)
    assert done.returncode == 2
    assert target.encode() in done.stderr


def echoing(seen: list[bytes], answer: bytes):
    """A script that keeps what it gets up to the end of STDIN, then answers."""

    def script(connection):
        data = b""
        while not data.endswith(raw_fastcgi.record(raw_fastcgi.STDIN)):
            data += connection.recv(65536)
        seen.append(data)
        connection.sendall(answer)

    return script


def content(data: bytes, kind: int) -> bytes:
    """The joined contents of one stream."""
    joined, at = b"", 0
    while at < len(data):
        length, padding = int.from_bytes(data[at + 4 : at + 6]), data[at + 6]
        joined += data[at + 8 : at + 8 + length] if data[at + 1] == kind else b""
        at += 8 + length + padding
    return joined


@pytest.mark.parametrize("way", ["text", "file", "stdin"])
def test_request_with_a_body(way: str, tmp_path: Path) -> None:
    body, seen = b"a=1&b=2" * 10000 if way != "text" else b"a=1", []
    (tmp_path / "body").write_bytes(body)
    option = {"text": "a=1", "file": f"@{tmp_path / 'body'}", "stdin": "-"}[way]
    answer = out(b"Status: 201 Created\r\nX-Test: yes\r\n\r\nbody") + end()
    with peer(echoing(seen, answer)) as path:
        done = run("request", "-d", option, "-H", "X-One: 1", "-P", "PATH_INFO=/p", path, "/x?y=z", stdin=body)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"Status: 201 Created\r\nX-Test: yes\r\n\r\nbody"
    params = dict(raw_fastcgi.unpairs(content(seen[0], raw_fastcgi.PARAMS)))
    expected = {
        "REQUEST_METHOD": "POST",
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "HTTP_X_ONE": "1",
        "PATH_INFO": "/p",
        "SCRIPT_NAME": "/x",
        "QUERY_STRING": "y=z",
    }
    assert expected.items() <= params.items()
    assert content(seen[0], raw_fastcgi.STDIN) == body


def test_request_body_only_and_failures() -> None:
    answer = raw_fastcgi.record(raw_fastcgi.STDERR, b"oh\n") + out(b"Status: 404 No\r\n\r\n\x00\xffgone") + end(1)
    with peer(says(answer)) as path:
        done = run("request", "--body-only", path, "/")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"\x00\xffgone", b"oh\n")


def test_request_cut_short() -> None:
    with peer(says(out(b"A: 1\r\n\r\nhalf"))) as path:
        done = run("request", path, "/")
    assert done.returncode == 1
    assert done.stdout.endswith(b"half")
    assert b"before the end of the response" in done.stderr


@pytest.mark.parametrize("arguments", [["x"], ["/", "-H", "no colon"], ["/", "-P", "=1"], ["/", "-d", "@/none/such"]])
def test_request_usage(arguments: list[str]) -> None:
    assert run("request", "/tmp/none.sock", *arguments).returncode == 2
