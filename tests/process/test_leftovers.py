"""Processes and connections that do not go by themselves: none of them is kept for ever, or takes what others need."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from pathlib import Path

import psutil
import pytest

from fpm.protocol.spec import FD_LISTEN, FD_PARK_TAKE
from tests.support import raw_fastcgi
from tests.support.fpm import Daemon, Settings, Start
from tests.support.pools import free_port, write_app
from tests.support.reloads import reload
from tests.support.waiting import wait_until

ALONE: Settings = {"user": 2_000_000 + os.getpid(), "group": "nogroup"}
"""A user of this process alone: the limit counts all processes of a user, also those of other tests."""
FORKS = """
import os, threading

def application(environ, start_response):
    made = []
    try:
        for _ in range(50):
            pid = os.fork()
            if not pid:
                threading.Event().wait()
            made.append(pid)
    except OSError:
        pass
    for pid in made:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    start_response("200 OK", [])
    return [str(len(made)).encode()]
"""


def test_a_template_that_does_not_leave_is_killed_after_its_last_worker(daemon: Start) -> None:
    fpm = daemon({"www": {}}, global_={"process_control_timeout": "1s"})
    (former,) = fpm.processes("template www")
    former.send_signal(signal.SIGSTOP)
    fpm.expect_log("has not exited in time", "exited in an unknown way")
    reload(fpm)
    assert fpm.get("www").status == 200
    wait_until(lambda: not psutil.pid_exists(former.pid), timeout=30)
    assert "sending SIGKILL to its process group" in fpm.log()


def test_silent_connections_make_room_for_the_next(daemon: Start) -> None:
    fpm = daemon({"www": {"rlimit_files": 40, "listen.backlog": 100}})
    (worker,) = fpm.workers("www")
    fpm.expect_log("the oldest of them is closed for each new one")
    silent = [socket.socket(socket.AF_UNIX) for _ in range(60)]
    for one in silent:
        one.connect(str(fpm.address("www")))
    assert fpm.get("www").status == 200
    assert fpm.workers("www") == [worker]
    for one in silent:
        one.close()


@pytest.mark.root
def test_a_limit_of_processes(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "forks:application", **ALONE, "rlimit_processes": 10}}, started=False)
    write_app(fpm, "forks", FORKS)
    fpm.start()
    made = int(raw_fastcgi.get(fpm.address("www")).body)
    assert 0 < made < 10
    limits = Path(f"/proc/{fpm.workers('www')[0]}/limits").read_text()
    assert re.search(r"Max processes +10 +10 ", limits)


EXHAUSTS = """
import os, signal, time

made = []

def application(environ, start_response):
    try:
        while not environ["QUERY_STRING"]:
            pid = os.fork()
            if not pid:
                time.sleep(100)
                os._exit(0)
            made.append(pid)
    except OSError:
        pass
    for pid in made if environ["QUERY_STRING"] else ():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    start_response("200 OK", [])
    return [str(len(made)).encode()]
"""


@pytest.mark.root
def test_a_reload_says_that_no_process_is_left_for_it(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "exhausts:application", **ALONE, "rlimit_processes": 10}}, started=False)
    write_app(fpm, "exhausts", EXHAUSTS)
    fpm.start()
    assert 0 < int(fpm.get("www").body) < 10
    fpm.expect_log("reload failed, nothing has changed", "the template cannot fork", "nobody watches")
    done = fpm.cli("reload")
    many = f"{ALONE['user']} has as many processes and threads as the limit of 10 allows"
    said = f"{many} (rlimit_processes): end some, see ps -L"
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert int(fpm.get("www", query="end").body) > 0
    reload(fpm)


SHUTS = """
import os, socket

def application(environ, start_response):
    start_response("200 OK", [])
    for fd in SOCKETS.get(environ["PATH_INFO"], []):
        socket.socket(fileno=os.dup(fd)).shutdown(socket.SHUT_RDWR)
    return [str(os.getpid()).encode()]
"""


@pytest.fixture(scope="module")
def shutting(shared_daemon: Start) -> Daemon:
    """Pools whose applications shut down a socket when they are asked."""
    pool: Settings = {"app": "shuts:application", "pm.max_children": 2}
    abstract = {**pool, "listen": f"@pyfpm-test-{os.getpid()}"}
    fpm = shared_daemon({"listening": pool, "parking": pool, "abstract": abstract}, started=False)
    sockets = {"/listening": [FD_LISTEN], "/parking": [FD_PARK_TAKE]}
    write_app(fpm, "shuts", f"SOCKETS = {sockets!r}\n{SHUTS}")
    return fpm.start()


@pytest.mark.parametrize("which", ["listening", "parking"])
def test_a_socket_that_an_application_has_shut_down_is_replaced(shutting: Daemon, which: str) -> None:
    former = shutting.wait_workers(which, 2)
    shutting.expect_log(f"has shut down the {which} socket")
    assert shutting.get(which, f"/{which}").status == 200
    wait_until(lambda: not set(former) & set(shutting.wait_workers(which, 2)), timeout=30)
    for _ in range(5):
        assert int(shutting.get(which).body) in shutting.workers(which)
    reload(shutting, which)
    assert shutting.get(which).status == 200


def test_an_abstract_socket_that_an_application_has_shut_down_is_replaced(shutting: Daemon) -> None:
    """Its name is free only when the last process has let go of it."""
    shutting.expect_log("has shut down the listening socket", "the listening socket cannot be replaced")
    assert shutting.get("abstract", "/listening").status == 200

    def serves() -> bool:
        try:
            return shutting.get("abstract").status == 200
        except OSError:
            return False

    wait_until(serves, timeout=30)
    shutting.wait_workers("abstract", 2)
    reload(shutting, "abstract")
    assert shutting.get("abstract").status == 200


KEEPS = """
import os, select, socket, threading

def daemonize():
    listening = socket.socket(fileno=os.dup({fd}))
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.close(1)
    os.close(2)
    while True:
        select.select([listening], [], [])
        try:
            listening.accept()[0].sendall(b"stolen")
        except OSError as error:
            if error.errno == 22:  # EINVAL: it is shut down; to spin on would outlive the test
                os._exit(0)

def application(environ, start_response):
    if environ["PATH_INFO"] == "/leave":
        daemonize()
    if environ["PATH_INFO"] == "/busy":
        threading.Event().wait()
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""


def thieves(fpm: Daemon, pool: str = "www") -> list[psutil.Process]:
    """What has left its worker for good: in the session of a process that has ended."""
    known = {one.pid for one in fpm.processes("template")}
    return [one for one in fpm.processes(f"pool {pool}") if session_of(one.pid) not in {*known, one.pid, 0}]


def session_of(pid: int) -> int:
    """The session of a process, 0 if it has ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


@pytest.mark.parametrize("tcp", [False, True])
def test_what_a_generation_has_left_behind_takes_no_requests(daemon: Start, tcp: bool) -> None:
    settings: dict[str, object] = {"app": "keeps:application", "pm.max_children": 2}
    if tcp:
        settings["listen"] = f"127.0.0.1:{free_port()}"
    fpm = daemon({"www": settings, "other": {}}, started=False)
    write_app(fpm, "keeps", KEEPS.format(fd=FD_LISTEN))
    fpm.start()
    raw_fastcgi.get(fpm.address("www"), "/leave")
    (thief,) = wait_until(lambda: thieves(fpm))
    if tcp:  # a template that cannot end what it leaves
        (template,) = fpm.processes("template www")
        fpm.expect_log("template .* exited on signal 9", "exited in an unknown way")
        template.kill()
        wait_until(lambda: template not in fpm.processes("template www") and fpm.processes("template www"))
    reload(fpm, "www")
    wait_until(lambda: not psutil.pid_exists(thief.pid), timeout=30)
    assert [fpm.get("www").status for _ in range(20)] == [200] * 20
    assert ("left behind by an application" in fpm.log()) == tcp
    # Removed: nobody is there any more, whoever has the socket.
    raw_fastcgi.get(fpm.address("www"), "/leave")
    wait_until(lambda: thieves(fpm))
    address = fpm.address("www")
    fpm.configure({"other": {}})
    reload(fpm)
    wait_until(lambda: not fpm.processes("www") and refuses(address), timeout=30)


def refuses(address: raw_fastcgi.Address) -> bool:
    try:
        raw_fastcgi.Wire(address, timeout=5).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    return False


def test_a_killed_master_leaves_no_address_taken(daemon: Start) -> None:
    keeps: Settings = {"app": "keeps:application", "pm.max_children": 2}
    pools = {"unix": keeps, "tcp": {**keeps, "listen": f"127.0.0.1:{free_port()}"}}
    fpm = daemon(pools, started=False)
    write_app(fpm, "keeps", KEEPS.format(fd=FD_LISTEN))
    fpm.start()
    with contextlib.ExitStack() as stack:
        for pool in pools:
            wire = stack.enter_context(raw_fastcgi.Wire(fpm.address(pool)))
            wire.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params("/busy")))
            fpm.wait_active(pool, 1)
            raw_fastcgi.get(fpm.address(pool), "/leave")
            wait_until(lambda pool=pool: thieves(fpm, pool))
        left = fpm.processes()
        fpm.expected_exit = -signal.SIGKILL
        fpm.signal(signal.SIGKILL)
        fpm.wait()
        fpm.forget()
        fpm.expected_exit = 0
        fpm.start()
        for pool in pools:
            assert [fpm.get(pool).status for _ in range(20)] == [200] * 20, pool
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
