"""fpm.WSGIServer in the place of flup's, in scripts that are started by hand; see also test_flup_web_servers.py."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support import raw_fastcgi
from tests.support.flup_script import FLUP, OURS, write_script
from tests.support.nginx import Nginx
from tests.support.pools import free_port
from tests.support.processes import Child, descendants, end_strays
from tests.support.waiting import wait_until

UPLOAD = os.urandom(500_000)
LOCATION = """
location /{name}/ {{
    rewrite ^/{name}(/.*)$ $1 break;
    fastcgi_pass unix:{socket};
    fastcgi_param SCRIPT_NAME "";
    fastcgi_param PATH_INFO $uri;
    fastcgi_param REQUEST_METHOD $request_method;
    fastcgi_param QUERY_STRING $query_string;
    fastcgi_param CONTENT_LENGTH $content_length;
    fastcgi_param SERVER_NAME localhost;
    fastcgi_param SERVER_PORT 80;
    fastcgi_param SERVER_PROTOCOL $server_protocol;
}}
"""


class Script:
    """tests/apps/board.fcgi as a process; `inherited` goes to descriptor 0, `closed` are closed."""

    def __init__(
        self,
        directory: Path,
        keywords: dict[str, Any],
        *,
        line: str = OURS,
        environ: dict[str, str] | None = None,
        inherited: socket.socket | None = None,
        closed: tuple[int, ...] = (),
    ) -> None:
        self.path = write_script(directory, line=line, name="flup.fcgi" if line == FLUP else "board.fcgi")
        self.log_file = directory / f"{self.path.stem}.log"
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions: list[tuple[Any, ...]] = [
            (os.POSIX_SPAWN_OPEN, 1, str(self.log_file), append, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)
            if inherited is None
            else (os.POSIX_SPAWN_DUP2, inherited.fileno(), 0),
            *((os.POSIX_SPAWN_CLOSE, fd) for fd in closed),
        ]
        command = [sys.executable, str(self.path), json.dumps(keywords)]
        pid = os.posix_spawn(command[0], command, {**os.environ, **(environ or {})}, file_actions=actions)
        self.process = Child(pid)

    def log(self) -> str:
        return self.log_file.read_text()

    def wait_listening(self, address: raw_fastcgi.Address) -> None:
        """Wait until somebody answers."""

        def answers() -> bool:
            assert self.process.alive(), self.log()
            try:
                return raw_fastcgi.get(address, "/", timeout=30.0).status == 200
            except OSError:
                return False

        wait_until(answers, message=lambda: f"no answer at {address}: {self.log()}")

    def end(self, number: int) -> int | None:
        """Signal it; returns the exit status, after nothing of it is left."""
        family = descendants(self.process.pid)
        self.process.signal(number)
        status = self.process.wait(60.0)
        assert not end_strays(family)
        return status


@pytest.fixture
def script(directory: Path) -> Iterator[Callable[..., Script]]:
    """Start scripts; what still runs at the end is ended."""
    running: list[Script] = []

    def start(keywords: dict[str, Any], **options: Any) -> Script:
        running.append(Script(directory, keywords, **options))
        return running[-1]

    yield start
    for one in running:
        if one.process.alive():
            # flup's prefork server does not react to SIGTERM on today's Python.
            one.end(signal.SIGKILL if one.path.name == "flup.fcgi" else signal.SIGTERM)


def ask(address: raw_fastcgi.Address, path: str, query: str = "") -> Any:
    """The JSON of one answer."""
    return json.loads(raw_fastcgi.get(address, path, query=query).body)


def test_the_same_script_with_one_import_changed(
    directory: Path, script: Callable[..., Script], nginx: Callable[[str], Nginx]
) -> None:
    """Behind nginx, both at once: the same answers."""
    theirs, ours = str(directory / "flup.sock"), str(directory / "board.sock")
    sizes = {"umask": 0, "minSpare": 2, "maxSpare": 4, "maxChildren": 8, "maxRequests": 100, "environ": {"SITE": "x"}}
    script({"bindAddress": theirs, **sizes}, line=FLUP)
    script({"bindAddress": ours, **sizes}).wait_listening(ours)
    web = nginx(LOCATION.format(name="flup", socket=theirs) + LOCATION.format(name="board", socket=ours))
    wait_until(lambda: web.get("/flup/").status == 200)
    requests: list[tuple[str, str, bytes | None]] = [
        ("GET", "/a/b%20c?x=1&y=%20", None),
        ("HEAD", "/", None),
        ("POST", "/upload", UPLOAD),
        ("POST", "/upload", b"x"),
        ("GET", "/missing", None),
        ("GET", "/", None),
    ]
    for method, path, body in requests:
        answers = []
        for name in ("flup", "board"):
            reply = web.request(method, f"/{name}{path}", body=body, headers={"X-Colour": "blue"})
            kept = {key: reply.headers.get(key) for key in ("content-type", "content-length", "x-board")}
            answers.append((reply.status, reply.reason, kept, reply.body))
        assert answers[0] == answers[1], (method, path)
    assert web.request("POST", "/board/upload", body=UPLOAD).body.decode() == hashlib.sha256(UPLOAD).hexdigest()
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: web.get("/board/slow?0.1"), range(20)))
    assert {(reply.status, reply.body) for reply in replies} == {(200, b"slept")}


def test_signals_and_the_socket_of_a_script(directory: Path, script: Callable[..., Script]) -> None:
    path = directory / "board.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    keywords = {"bindAddress": str(path), "umask": 0o027, "minSpare": 2, "debug": True}
    board = script(keywords, environ={"RESTART": "1", "COLOUR": "green"})
    address = str(path)
    board.wait_listening(address)
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    before = ask(address, "/who")
    assert before["argv"] == [str(board.path), json.dumps(keywords)]
    assert (before["directory"], before["path"]) == (os.getcwd(), str(directory))
    assert before["variables"] == {"COLOUR": "green", "PYTHONPATH": os.environ.get("PYTHONPATH")}
    assert ask(address, "/")["SITE"] == ""
    # SIGHUP: run() returns True, and the script executes itself; the pid stays.
    board.process.signal(signal.SIGHUP)

    def restarted() -> bool:
        try:
            return bool(ask(address, "/who")["loaded"] > before["loaded"])
        except (OSError, AssertionError):  # between the two there is no socket
            return False

    wait_until(restarted, message=board.log())
    assert "run() returned True" in board.log()
    # SIGTERM: the request in hand is answered, then nothing is left.
    with raw_fastcgi.Wire(address) as slow:
        slow.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params("/slow", query="1")))
        # Connections are taken in their order: when this one is answered, the first has its worker.
        assert raw_fastcgi.get(address, "/say").status == 200
        assert board.end(signal.SIGTERM) == 0
        assert slow.read_reply().body == b"slept"
    assert not path.exists()
    lines = board.log().splitlines()
    notice = "NOTICE: WSGIServer: without effect under pyfpm: debug (tracebacks go to the log, not to the client)"
    said = ["said by the application"]
    assert lines == [notice, "run() returned True", notice, *said, "run() returned False"], board.log()


def test_a_port_killed_and_who_may_connect(script: Callable[..., Script]) -> None:
    address = ("127.0.0.1", free_port())
    environ = {"SITE": "mine", "HTTPS": "on", "wsgi.url_scheme": "nonsense"}
    keywords = {"bindAddress": list(address), "environ": environ, "maxThreads": 3}
    board = script(keywords, environ={"FCGI_WEB_SERVER_ADDRS": " 10.9.8.7, 127.0.0.1"})
    board.wait_listening(address)
    who = ask(address, "/who")
    assert (who["scheme"], who["multithread"], who["multiprocess"]) == ("https", False, True)
    assert ask(address, "/")["SITE"] == "mine"
    assert board.end(signal.SIGKILL) == -signal.SIGKILL
    # The port is free again, and others may not connect.
    closed = script(keywords, environ={"FCGI_WEB_SERVER_ADDRS": "10.9.8.7"})
    wait_until(lambda: "said" in closed.log() or descendants(closed.process.pid)[2:])
    with raw_fastcgi.Wire(address) as wire:
        assert wire.read_record() is None, "refused"
    assert closed.end(signal.SIGINT) == 0


def test_a_socket_on_descriptor_0(directory: Path, script: Callable[..., Script]) -> None:
    """As a web server starts it, some of which close the standard streams. The socket is theirs and stays."""
    path = str(directory / "web.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        board = script({"maxChildren": 2}, inherited=listening, closed=(1, 2))
        board.wait_listening(path)
        first = ask(path, "/who")
        assert board.end(signal.SIGHUP) == 3
        # Clients that come between two runs wait.
        with raw_fastcgi.Wire(path) as waiting:
            waiting.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params("/who")))
            again = script({"maxChildren": 2}, inherited=listening)
            assert json.loads(waiting.read_reply().body)["loaded"] > first["loaded"]
        assert again.end(signal.SIGTERM) == 0
        assert again.log() == "run() returned False\n"
    assert os.path.exists(path)


def run(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **variables}
    return subprocess.run(
        command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


def test_without_a_socket(directory: Path) -> None:
    """One request as a CGI program, or an error that says what to do."""
    board = str(write_script(directory))
    cgi = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/p", "QUERY_STRING": "q=1", "HTTP_PROXY": "evil"}
    done = run([sys.executable, board], **cgi)
    head, _, body = done.stdout.partition("\n\n")
    assert (done.returncode, head.split("\n")[0]) == (0, "Status: 200 OK"), done
    assert json.loads(body)["PATH_INFO"] == "/p"
    forced = run([sys.executable, board, '{"forceCGI": true, "environ": {"SITE": "s"}}'], REQUEST_URI="/from?x=2")
    assert '"SITE": "s"' in forced.stdout
    assert '"PATH_INFO": "/from"' in forced.stdout
    example = Path(__file__).parents[2] / "examples/flup/hello.fcgi"
    assert run([sys.executable, str(example)], **cgi, REMOTE_ADDR="::1").stdout.endswith("says hello to ::1.\n")

    by_hand = run([sys.executable, board])
    assert by_hand.returncode == 1
    assert "descriptor 0 is not a listening socket" in by_hand.stderr
    assert "bindAddress=('127.0.0.1', 9000)" in by_hand.stderr
    code = f"import fpm; fpm.WSGIServer(print, bindAddress='{directory}/c.sock').run()"
    prompt = run([sys.executable, "-c", code])
    assert prompt.returncode == 1
    assert "must be called by a program that lies in a file" in prompt.stderr
    nowhere = run([sys.executable, board, '{"bindAddress": "/nowhere/x.sock"}'])
    assert "cannot listen: No such file or directory: '/nowhere/x.sock'" in nowhere.stderr
    # What works once but not twice: the reason is in the log, and the socket is not left behind.
    text = (directory / "board.fcgi").read_text().replace("LOADED = ", f"os.mkdir('{directory}/once')\nLOADED = ")
    Path(board).write_text(text)
    twice = run([sys.executable, board, json.dumps({"bindAddress": f"{directory}/twice.sock"})])
    assert twice.returncode == 1
    assert "FileExistsError: [Errno 17] File exists" in twice.stderr
    assert not list(directory.glob("*.sock"))
