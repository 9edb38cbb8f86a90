"""systemd's protocols, with real sockets in place of PID 1."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fpm.system.systemd import listen_fds, notify, watchdog_interval


@pytest.mark.parametrize("abstract", [False, True])
def test_notify(abstract: bool, tmp_path: Path) -> None:
    name = f"pyfpm-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name if abstract else name)
        assert notify("READY=1\nSTATUS=ä", {"NOTIFY_SOCKET": "@" + name if abstract else name})
        assert manager.recv(100).decode() == "READY=1\nSTATUS=ä"


def test_notify_without_a_manager(tmp_path: Path) -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": ""})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "relative"})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "none")})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "/" + "x" * 200})


def test_notify_does_not_wait_for_a_manager_that_sleeps(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        sent = [notify("STATUS=x", {"NOTIFY_SOCKET": path}) for _ in range(1000)]
        assert sent[0]
        assert not sent[-1]


CHILD = """
import json, os, socket, sys
from fpm.system.systemd import listen_fds
os.environ["LISTEN_PID"] = str(os.getpid())
found = listen_fds(os.environ, os.getpid())
kinds = {name: socket.socket(fileno=os.dup(fd)).getsockname()[0] for name, fd in found.items()}
print(json.dumps([found, kinds, [os.get_inheritable(fd) for fd in found.values()]]))
"""


def receive_sockets(names: str | None, count: int) -> str:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    environ = {"LISTEN_FDS": str(count)} | ({} if names is None else {"LISTEN_FDNAMES": names})

    def place() -> None:
        saved = [os.dup(listener.fileno()) for listener in listeners]
        for index, fd in enumerate(saved):
            os.dup2(fd, 3 + index)

    try:
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CHILD],
            env=environ,
            close_fds=False,
            preexec_fn=place,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    finally:
        for listener in listeners:
            listener.close()


@pytest.mark.parametrize(
    ("names", "keys"),
    [("www:shop", '"www": 3, "shop": 4'), (None, '"0": 3, "1": 4'), ("www:www", '"www": 3, "www:1": 4')],
)
def test_sockets_by_name(names: str | None, keys: str) -> None:
    out = receive_sockets(names, 2)
    assert out.startswith(f"[{{{keys}}}, ")
    assert out.rstrip().endswith("[false, false]]")
    assert out.count("127.0.0.1") == 2


def test_sockets_of_another_process_are_left_alone() -> None:
    assert listen_fds({"LISTEN_PID": "1", "LISTEN_FDS": "3"}, 4711) == {}
    assert listen_fds({}, 4711) == {}
    assert listen_fds({"LISTEN_PID": "x", "LISTEN_FDS": "3"}, 4711) == {}
    assert listen_fds({"LISTEN_PID": "4711", "LISTEN_FDS": "-3"}, 4711) == {}
    assert listen_fds({"LISTEN_PID": "4711"}, 4711) == {}


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "5"}, 30.0),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "6"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_interval(environ, 5) == seconds
