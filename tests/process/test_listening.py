"""Listening sockets of a real daemon: Unix and TCP, owner and mode, stale and live ones, backlog, allowed clients."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import re
import signal
import socket
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fpm.protocol.spec import FD_LISTEN, FD_PARK_TAKE
from tests.support import raw_fastcgi
from tests.support.fpm import POOL_USER, Daemon, Start
from tests.support.held import HOLD, holding
from tests.support.pools import facts, free_port, write_app
from tests.support.reloads import reload
from tests.support.waiting import wait_until

IN_ATTRIB, IN_CREATE = 0x4, 0x100


def test_no_socket_is_opened_wide_and_narrowed_later(daemon: Start) -> None:
    """inotify(7) tells in which order files came and got another mode; each has the right one from the beginning."""
    names = ("www.sock", "wide.sock", "control.sock", "status.sock", "all.sock")
    fpm = daemon({}, started=False)
    pool = {"listen.mode": "0600", "pm.status_path": "/status", "pm.status_listen": fpm.directory / "status.sock"}
    pools = {"www": pool, "wide": {"listen.mode": "0666", "pm": "ondemand"}}
    fpm.configure(pools, global_={"status_listen": fpm.directory / "all.sock"})
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    assert libc.inotify_add_watch(watch, os.fsencode(fpm.directory), IN_ATTRIB | IN_CREATE) >= 0
    fpm.start(wrapper=("/bin/sh", "-c", 'umask 0137; exec "$0" "$@"'))
    events: dict[str, list[int]] = {}
    data = os.read(watch, 65536)
    while data:
        _, mask, _, length = struct.unpack_from("iIII", data)
        events.setdefault(data[16 : 16 + length].rstrip(b"\0").decode(), []).append(mask)
        data = data[16 + length :]
    os.close(watch)
    assert {name: events[name] for name in names} == {name: [IN_CREATE] for name in names}
    modes = {name: stat.S_IMODE((fpm.directory / name).stat().st_mode) for name in names[:3]}
    assert modes == {"www.sock": 0o600, "wide.sock": 0o666, "control.sock": 0o600}, "whatever the umask is"
    for pid in (fpm.pid, *fpm.workers("www")):
        assert "Umask:\t0137" in Path(f"/proc/{pid}/status").read_text(), "it stays as it is"


@pytest.mark.root
def test_nobody_connects_before_owner_and_mode_are_right(daemon: Start) -> None:
    theirs = {"listen.owner": POOL_USER, "pm": "ondemand"}
    pools = {"www": {**theirs, "listen.mode": "0606"}, "grouped": {**theirs, "listen.mode": "0640"}}
    pools["grouped"]["listen.group"] = "daemon"
    fpm = daemon(pools, started=False)
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
    racer.join(60)
    assert seen == [(0o606, pwd.getpwnam(POOL_USER).pw_uid)]
    found = os.stat(str(fpm.address("grouped")))
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert found.st_uid == pwd.getpwnam(POOL_USER).pw_uid
    assert found.st_gid == pwd.getpwnam("daemon").pw_gid


def test_what_cannot_be_listened_on_is_named_and_left_alone(daemon: Start) -> None:
    fpm = daemon({}, started=False)
    with ExitStack() as stack:
        live, full, *clients = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(7))
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        fpm.configure(
            {"live": {}, "full": {}, "file": {}, "other": {}}
            | {"taken": {"listen": f"127.0.0.1:{port}"}, "foreign": {"listen": "192.0.2.1:9000"}}
        )
        paths = {name: str(fpm.address(name)) for name in ("live", "full", "file")}
        for owner, name, backlog in ((live, "live", 16), (full, "full", 0)):
            owner.bind(paths[name])
            owner.listen(backlog)
        for client in clients:
            client.setblocking(False)
        assert errno.EAGAIN in {client.connect_ex(paths["full"]) for client in clients}
        Path(paths["file"]).write_text("precious")
        fpm.expect_log(r"\[pool \w+\] failed to start", "started with --strict")
        fpm.start("run", "--strict", ready=False)
        assert fpm.wait() == 70, fpm.log()
        fpm.forget()
        for pool, said in {
            "live": f"Another FPM instance seems to already listen on {paths['live']}",
            "full": f"Another FPM instance seems to already listen on {paths['full']}",
            "file": f"{paths['file']} exists and is not a socket",
            "taken": f"cannot listen on 127.0.0.1:{port}: the address is in use",
            "foreign": "cannot listen on 192.0.2.1:9000: this machine does not have that address",
        }.items():
            assert re.search(rf"\[pool {pool}\] failed to start: .*{re.escape(said)}", fpm.log()), pool
        assert Path(paths["file"]).read_text() == "precious"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(paths["live"])
    for path in paths.values():
        os.unlink(path)


ALLOWED = {
    "alone": ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
    "network": ("192.0.2.0/24,127.0.0.2/31", "127.0.0.3", "127.0.0.1"),
}
"""Pools: their allowed clients, one that is welcome, and one that is not."""
BACKLOGS = {"set": "7", "most": "-1", "unix": "9"}


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Iterator[Daemon]:
    """A daemon with a pool for each way to listen; another program has the port of one of them for IPv6."""
    ports = {name: free_port() for name in ("v4", "v6", "port", "both", *ALLOWED, "families", "set", "most")}
    listens = {"v4": "127.0.0.1:{}", "v6": "[::1]:{}", "port": "{}", "both": "[::]:{}", "families": "{}"}
    pools: dict[str, dict[str, object]] = {
        name: {"listen": listens.get(name, "127.0.0.1:{}").format(port)} for name, port in ports.items()
    }
    for name, (allowed, _, _) in ALLOWED.items():
        pools[name]["listen.allowed_clients"] = allowed
    pools["families"]["listen.allowed_clients"] = "127.0.0.1,::1"
    for name, backlog in BACKLOGS.items():
        pools[name] = {**pools.get(name, {}), "listen.backlog": backlog, "pm": "ondemand"}
    with socket.socket(socket.AF_INET6) as owner:
        owner.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        owner.bind(("::", 0))
        owner.listen()
        made = shared_daemon({**pools, "half": {"listen": owner.getsockname()[1]}, "stale": {}}, started=False)
        for name in ("stale.sock", "control.sock"):
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(made.directory / name))
        yield made.start()


def port_of(fpm: Daemon, pool: str) -> int:
    """The port of a pool that listens on one."""
    address = fpm.address(pool)
    assert isinstance(address, tuple)
    return address[1]


def test_a_stale_socket_is_replaced(fpm: Daemon) -> None:
    assert fpm.get("stale").status == 200
    assert fpm.ask("status")["ok"]


@pytest.mark.parametrize(("pool", "host", "other"), [("v4", "127.0.0.1", "127.0.0.2"), ("v6", "::1", "127.0.0.1")])
def test_an_address_with_a_port(fpm: Daemon, pool: str, host: str, other: str) -> None:
    assert raw_fastcgi.get((host, port_of(fpm, pool))).status == 200
    with pytest.raises(ConnectionRefusedError):
        raw_fastcgi.get((other, port_of(fpm, pool)))
    assert fpm.get(pool).status == 200


@pytest.mark.parametrize("pool", ["port", "both"])
def test_a_port_alone_means_every_address_of_both_families(fpm: Daemon, pool: str) -> None:
    hosts = ("127.0.0.1", "127.0.0.2", "::1")
    assert [raw_fastcgi.get((host, port_of(fpm, pool))).status for host in hosts] == [200, 200, 200]


def test_a_port_that_another_has_for_ipv6_alone_is_served_for_ipv4(fpm: Daemon) -> None:
    assert raw_fastcgi.get(("127.0.0.1", port_of(fpm, "half"))).status == 200


def test_the_backlog(fpm: Daemon) -> None:
    somaxconn = int(Path("/proc/sys/net/core/somaxconn").read_text())
    found = {name: fpm.figures(name)["listen queue len"] for name in BACKLOGS}
    assert found == {"set": 7, "most": min(65535, somaxconn), "unix": 9}


@pytest.mark.parametrize("pool", ALLOWED)
def test_allowed_clients(fpm: Daemon, pool: str) -> None:
    _, welcome, unwelcome = ALLOWED[pool]

    def ask(source: str) -> bytes:
        with socket.socket() as client:
            client.settimeout(10)
            client.bind((source, 0))
            client.connect(("127.0.0.1", port_of(fpm, pool)))
            try:
                client.sendall(raw_fastcgi.request_bytes(raw_fastcgi.web_params()))
                return client.recv(65536)
            except ConnectionError:
                return b""

    assert b"Hello" in ask(welcome)
    assert ask(unwelcome) == b""
    fpm.wait_log(rf"\[pool {pool}\] .*Connection disallowed: IP address '{unwelcome}' has been dropped")
    assert b"Hello" in ask(welcome)


def test_allowed_clients_on_both_families(fpm: Daemon) -> None:
    assert [raw_fastcgi.get((host, port_of(fpm, "families"))).status for host in ("127.0.0.1", "::1")] == [200, 200]


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
        reload(fpm, "other")
        assert not os.path.exists(path), "nobody has asked for it"
        done = fpm.cli("reload", "--changed")
        assert done.returncode == 0
        assert "its listening socket, whose file was removed, is made again" in done.stdout
        assert raw_fastcgi.get(path, query="0").status == 200
        assert raw_fastcgi.get(private, "/status").status == 200
    assert request.result().status == 200, "the former worker has finished it"
    assert facts(fpm, "www")["generation"] == 2
    assert "unreachable" not in facts(fpm, "www")["state"]
    # Another socket in its place is another's; it is not taken from him.
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as another:
        another.bind(path)
        another.listen()
        reload(fpm)  # what somebody has put there holds up no reload
        assert f"another file is in the place of its socket, {path}" in fpm.cli("status").stderr
    os.unlink(fpm.control)
    fpm.signal(signal.SIGHUP)
    wait_until(lambda: fpm.control.exists() and fpm.ask("status")["ok"])


LOSING = """
import os

def application(environ, start_response):
    if environ["QUERY_STRING"]:
        fd, other = map(int, environ["QUERY_STRING"].split(","))
        os.close(fd) if other < 0 else os.dup2(os.open("/dev/null", os.O_RDWR), fd)
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""


def test_a_worker_that_has_lost_its_listening_socket_leaves(daemon: Start) -> None:
    """What closes a descriptor twice closes another's, or what took its place: it is said, and a new worker serves."""
    fpm = daemon({"www": {"app": "losing:application"}}, started=False)
    write_app(fpm, "losing", LOSING)
    fpm.start()
    fpm.expect_log("exited with code 70")
    for lost in (f"{FD_LISTEN},-1", f"{FD_PARK_TAKE},-1", f"{FD_LISTEN},0"):
        worker = fpm.get("www", query=lost).body.decode()
        assert fpm.get("www").status == 200
        fpm.wait_log(rf"child {worker}: .*the application has closed a descriptor .*; this worker leaves")
        assert fpm.get("www").body.decode() != worker


def test_many_pools_open_and_close_their_sockets(daemon: Start) -> None:
    """And a port is free again after the stop, and what somebody put in the place of a socket is left to him."""
    pools = {f"p{number}": {"pm": "ondemand"} for number in range(50)}
    fpm = daemon({**pools, "tcp": {"pm": "ondemand", "listen": f"127.0.0.1:{free_port()}"}})
    assert sum(path.is_socket() for path in fpm.directory.iterdir()) == 52
    assert fpm.get("p49").status == 200
    assert fpm.get("tcp").status == 200
    path = str(fpm.address("p7"))
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as another:
        another.bind(path)
        fpm.signal(signal.SIGQUIT)
        assert fpm.wait() == 0
    assert sorted(path.name for path in fpm.directory.iterdir() if path.is_socket()) == ["notify", "p7.sock"]
    os.unlink(path)
    fpm.configure({"tcp": {"listen": "{}:{}".format(*fpm.address("tcp"))}})
    fpm.start()
    assert fpm.get("tcp").status == 200
