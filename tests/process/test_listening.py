"""Listening sockets of a real daemon: Unix and TCP, owner and mode, stale and live ones, backlog, allowed clients."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import pwd
import signal
import socket
import stat
import struct
import threading
from pathlib import Path

import pytest

from fpm.protocol.spec import FD_LISTEN, FD_PARK_TAKE
from tests.support import raw_fastcgi
from tests.support.fpm import POOL_USER, Daemon, Start
from tests.support.held import HOLD, holding
from tests.support.pools import facts, write_app
from tests.support.waiting import wait_until


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody has at this moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def refused(fpm: Daemon) -> str:
    """What a strict start says that must not succeed; nothing of it may be left."""
    fpm.expect_log(r"\[pool www\] failed to start", "started with --strict")
    fpm.start("run", "--strict", ready=False)
    status = fpm.wait()
    assert status == 70, f"exit code {status}, the log:\n{fpm.log()}"
    fpm.forget()
    return fpm.log()


@pytest.mark.root
def test_owner_group_and_mode_of_a_unix_socket(daemon: Start) -> None:
    fpm = daemon({"www": {"listen.owner": POOL_USER, "listen.group": "daemon", "listen.mode": "0640"}})
    found = os.stat(str(fpm.address("www")))
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert found.st_uid == pwd.getpwnam(POOL_USER).pw_uid
    assert found.st_gid == pwd.getpwnam("daemon").pw_gid


@pytest.mark.root
def test_nobody_connects_before_owner_and_mode_are_right(daemon: Start) -> None:
    fpm = daemon({"www": {"listen.owner": POOL_USER, "listen.mode": "0606"}}, started=False)
    path = fpm.directory / "www.sock"
    seen: list[tuple[int, int]] = []

    def race() -> None:
        def connected() -> bool:
            with socket.socket(socket.AF_UNIX) as client:
                if client.connect_ex(str(path)) != 0:
                    return False
                found = path.stat()
                seen.append((stat.S_IMODE(found.st_mode), found.st_uid))
                return True

        while not connected():
            pass

    racer = threading.Thread(target=race, daemon=True)
    racer.start()
    fpm.start()
    racer.join(10)
    assert seen == [(0o606, pwd.getpwnam(POOL_USER).pw_uid)]


IN_ATTRIB, IN_CREATE = 0x4, 0x100


def test_no_socket_is_opened_wide_and_narrowed_later(daemon: Start) -> None:
    """inotify(7) tells in which order files came and got another mode; each has the right one from the beginning."""
    names = ("www.sock", "control.sock", "status.sock", "all.sock")
    fpm = daemon({"www": {}}, started=False)
    pool = {"listen.mode": "0600", "pm.status_path": "/status", "pm.status_listen": fpm.directory / "status.sock"}
    fpm.configure({"www": pool}, global_={"status_listen": fpm.directory / "all.sock"})
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    assert libc.inotify_add_watch(watch, os.fsencode(fpm.directory), IN_ATTRIB | IN_CREATE) >= 0
    fpm.start()
    events: dict[str, list[int]] = {}
    data = os.read(watch, 65536)
    while data:
        _, mask, _, length = struct.unpack_from("iIII", data)
        events.setdefault(data[16 : 16 + length].rstrip(b"\0").decode(), []).append(mask)
        data = data[16 + length :]
    os.close(watch)
    assert {name: events[name] for name in names} == {name: [IN_CREATE] for name in names}
    modes = {name: stat.S_IMODE((fpm.directory / name).stat().st_mode) for name in names[:2]}
    assert modes == {"www.sock": 0o600, "control.sock": 0o600}


def test_the_umask_changes_no_mode_and_stays(daemon: Start) -> None:
    fpm = daemon({"www": {"listen.mode": "0666"}}, started=False)
    fpm.start(wrapper=("/bin/sh", "-c", 'umask 0137; exec "$0" "$@"'))
    assert stat.S_IMODE(os.stat(str(fpm.address("www"))).st_mode) == 0o666
    assert stat.S_IMODE(fpm.control.stat().st_mode) == 0o600
    for pid in (fpm.pid, *fpm.workers("www")):
        assert "Umask:\t0137" in Path(f"/proc/{pid}/status").read_text()


def test_a_stale_socket_is_replaced(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    for name in ("www.sock", "control.sock"):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(fpm.directory / name))
    fpm.start()
    assert fpm.get("www").status == 200


def test_a_live_socket_is_refused_and_left_alone(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    path = str(fpm.address("www"))
    with socket.socket(socket.AF_UNIX) as owner:
        owner.bind(path)
        owner.listen(1)
        assert f"[pool www] failed to start: Another FPM instance seems to already listen on {path}" in refused(fpm)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
    os.unlink(path)


def test_a_live_socket_with_a_full_queue_is_refused(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    path = str(fpm.address("www"))
    with socket.socket(socket.AF_UNIX) as owner:
        owner.bind(path)
        owner.listen(0)
        clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(5)]
        assert errno.EAGAIN in {client.connect_ex(path) for client in clients}
        assert f"Another FPM instance seems to already listen on {path}" in refused(fpm)
        for client in clients:
            client.close()
    os.unlink(path)


def test_a_file_in_the_place_of_the_socket_is_never_removed(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    path = Path(str(fpm.address("www")))
    path.write_text("precious")
    assert f"{path} exists and is not a socket" in refused(fpm)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_address_with_a_port(daemon: Start, host: str) -> None:
    port = free_port(host.strip("[]"))
    fpm = daemon({"www": {"listen": f"{host}:{port}"}})
    assert raw_fastcgi.get((host.strip("[]"), port)).status == 200
    with pytest.raises(ConnectionRefusedError):
        raw_fastcgi.get(("127.0.0.2" if host == "127.0.0.1" else "127.0.0.1", port))
    assert fpm.get("www").status == 200


@pytest.mark.parametrize("listen", ["{}", "[::]:{}"])
def test_a_port_alone_means_every_address_of_both_families(daemon: Start, listen: str) -> None:
    port = free_port("::")
    daemon({"www": {"listen": listen.format(port)}})
    assert [raw_fastcgi.get((host, port)).status for host in ("127.0.0.1", "127.0.0.2", "::1")] == [200, 200, 200]


def test_a_port_that_another_has_for_ipv6_alone_is_served_for_ipv4(daemon: Start) -> None:
    with socket.socket(socket.AF_INET6) as owner:
        owner.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        owner.bind(("::", 0))
        owner.listen()
        port = owner.getsockname()[1]
        daemon({"www": {"listen": port}})
        assert raw_fastcgi.get(("127.0.0.1", port)).status == 200


def test_a_port_that_somebody_has_is_named(daemon: Start) -> None:
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen(1)
        port = owner.getsockname()[1]
        fpm = daemon({"other": {}, "www": {"listen": f"127.0.0.1:{port}"}}, started=False)
        assert f"[pool www] failed to start: cannot listen on 127.0.0.1:{port}: the address is in use" in refused(fpm)


def test_an_address_of_another_machine_is_named(daemon: Start) -> None:
    fpm = daemon({"www": {"listen": "192.0.2.1:9000"}}, started=False)
    assert (
        "[pool www] failed to start: cannot listen on 192.0.2.1:9000: this machine does not have that address"
        in refused(fpm)
    )


def test_a_port_is_free_again_after_the_stop(daemon: Start) -> None:
    port = free_port()
    for _ in range(2):
        fpm = daemon({"www": {"listen": f"127.0.0.1:{port}"}})
        assert fpm.get("www").status == 200
        assert fpm.cli("stop").returncode == 0


def test_the_backlog(daemon: Start) -> None:
    somaxconn = int(Path("/proc/sys/net/core/somaxconn").read_text())
    ports = {"set": free_port(), "most": free_port()}
    pools = {name: {"listen": f"127.0.0.1:{port}"} for name, port in ports.items()}
    pools["set"]["listen.backlog"] = "7"
    pools["most"]["listen.backlog"] = "-1"
    fpm = daemon({**pools, "unix": {"listen.backlog": 9}})

    def backlog(pool: str) -> int:
        return int(json.loads(fpm.cli("status", pool, "--format", "json").stdout)["listen queue len"])

    assert {name: backlog(name) for name in ("set", "most", "unix")} == {
        "set": 7,
        "most": min(65535, somaxconn),
        "unix": 9,
    }


@pytest.mark.parametrize(
    ("allowed", "welcome", "unwelcome"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
        ("192.0.2.0/24,127.0.0.2/31", "127.0.0.3", "127.0.0.1"),
    ],
)
def test_allowed_clients(daemon: Start, allowed: str, welcome: str, unwelcome: str) -> None:
    port = free_port()
    fpm = daemon({"www": {"listen": f"127.0.0.1:{port}", "listen.allowed_clients": allowed}})

    def ask(source: str) -> bytes:
        with socket.socket() as client:
            client.settimeout(10)
            client.bind((source, 0))
            client.connect(("127.0.0.1", port))
            try:
                client.sendall(raw_fastcgi.request_bytes(raw_fastcgi.web_params()))
                return client.recv(65536)
            except ConnectionError:
                return b""

    assert b"Hello" in ask(welcome)
    assert ask(unwelcome) == b""
    fpm.wait_log(rf"Connection disallowed: IP address '{unwelcome}' has been dropped")
    assert b"Hello" in ask(welcome)


def test_allowed_clients_on_both_families(daemon: Start) -> None:
    port = free_port("::")
    daemon({"www": {"listen": port, "listen.allowed_clients": "127.0.0.1,::1"}})
    assert [raw_fastcgi.get((host, port)).status for host in ("127.0.0.1", "::1")] == [200, 200]


def test_the_socket_that_somebody_put_in_our_place_is_not_removed(daemon: Start) -> None:
    fpm = daemon({"www": {}})
    path = str(fpm.address("www"))
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as another:
        another.bind(path)
        assert fpm.cli("stop").returncode == 0
        assert os.path.exists(path)
    os.unlink(path)


def test_sockets_whose_files_were_removed_come_back_at_a_reload(daemon: Start) -> None:
    fpm = daemon({}, started=False)
    private = str(fpm.directory / "page.sock")
    pool = {"app": "slow:application", "pm.max_children": 2, "pm.status_listen": private}
    fpm.configure({"www": pool, "other": {}})
    fpm.start()
    path = str(fpm.address("www"))
    with holding(fpm, HOLD) as (request,):
        os.unlink(path)
        os.unlink(private)
        said = fpm.cli("status")
        assert said.returncode == 1
        assert f"pool www cannot be reached: the file of its socket, {path}, has been removed" in said.stderr
        assert fpm.cli("reload", "other").returncode == 0
        assert not os.path.exists(path), "nobody has asked for it"
        done = fpm.cli("reload", "--changed")
        assert done.returncode == 0
        assert "its listening socket, whose file was removed, is made again" in done.stdout
        assert raw_fastcgi.get(path, query="0").status == 200
        assert raw_fastcgi.get(private, "/status").status == 200
    assert request.result().status == 200, "the former worker has finished it"
    assert facts(fpm, "www")["generation"] == 2
    assert fpm.cli("status").returncode == 0
    # Another socket in its place is another's; it is not taken from him.
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as another:
        another.bind(path)
        another.listen()
        assert fpm.cli("reload").returncode == 0, "what somebody has put there holds up no reload"
        assert f"another file is in the place of its socket, {path}" in fpm.cli("status").stderr
    os.unlink(fpm.control)
    fpm.signal(signal.SIGHUP)
    wait_until(lambda: fpm.control.exists() and fpm.cli("status").returncode == 0)


LOSING = """
import os

def application(environ, start_response):
    if environ["QUERY_STRING"]:
        fd, other = map(int, environ["QUERY_STRING"].split(","))
        os.close(fd) if other < 0 else os.dup2(os.open("/dev/null", os.O_RDWR), fd)
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""


@pytest.mark.parametrize("other", ["-1", "0"], ids=["closed", "replaced"])
def test_a_worker_that_has_lost_its_listening_socket_leaves(daemon: Start, other: str) -> None:
    """What closes a descriptor twice closes another's: it is said, and a new worker serves."""
    fpm = daemon({"www": {"app": "losing:application"}}, started=False)
    write_app(fpm, "losing", LOSING)
    fpm.start()
    fpm.expect_log("exited with code 70")
    for fd in (FD_LISTEN, FD_PARK_TAKE) if other == "-1" else (FD_LISTEN,):
        worker = fpm.get("www", query=f"{fd},{other}").body.decode()
        assert fpm.get("www").status == 200
        fpm.wait_log(rf"child {worker}: .*the application has closed a descriptor .*; this worker leaves")
        assert fpm.get("www").body.decode() != worker


def test_many_pools_open_and_close_their_sockets(daemon: Start) -> None:
    pools = {f"p{number}": {"pm": "ondemand"} for number in range(50)}
    fpm = daemon(pools)
    assert sum(path.is_socket() for path in fpm.directory.iterdir()) == 52
    assert fpm.get("p49").status == 200
    assert fpm.cli("stop").returncode == 0
    wait_until(lambda: [path.name for path in fpm.directory.iterdir() if path.is_socket()] == ["notify"])
