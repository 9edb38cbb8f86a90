"""Who may connect to a pool's Unix socket: access control lists, and abstract sockets."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpm.paths.access_lists import ATTRIBUTE
from tests.support import raw_fastcgi
from tests.support.fpm import Daemon, Start
from tests.support.held import HOLD, holding
from tests.support.processes import lives
from tests.support.reloads import reload
from tests.support.waiting import wait_until

CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


def may_connect(path: str, user: str, *groups: str) -> bool:
    """Connect as a user who is in these groups and no others (in `nogroup` if there are none)."""
    identity = ["setpriv", f"--reuid={user}", f"--regid={groups[0] if groups else 'nogroup'}", "--clear-groups"]
    command = [*identity, "/usr/bin/python3", "-I", "-S", "-c", CONNECT, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 or "PermissionError" in done.stderr, done.stderr
    return done.returncode == 0


def allowed(fpm: Daemon, pool: str = "www") -> dict[str, bool]:
    """Who may connect, of some users and of a member of a group."""
    path = str(fpm.address(pool))
    return {
        "nobody": may_connect(path, "nobody"),
        "daemon": may_connect(path, "daemon"),
        "group man": may_connect(path, "games", "man"),
        "games": may_connect(path, "games"),
    }


@pytest.mark.root
def test_an_access_control_list_decides_who_connects_and_a_reload_changes_it(daemon: Start) -> None:
    pool = {"app": "slow:application", "listen.mode": "0600", "pm.max_children": 2}
    fpm = daemon({"www": {**pool, "listen.acl_users": "daemon"}})
    path = str(fpm.address("www"))
    nobody, everybody = dict.fromkeys(allowed(fpm), False), dict.fromkeys(allowed(fpm), True)
    assert allowed(fpm) == nobody | {"daemon": True}
    assert ATTRIBUTE in os.listxattr(path)
    inode, (worker, _) = os.stat(path).st_ino, fpm.workers("www")
    changes: list[tuple[dict[str, object], dict[str, bool]]] = [
        ({"listen.acl_users": "nobody", "listen.acl_groups": "man"}, nobody | {"nobody": True, "group man": True}),
        ({"listen.acl_groups": "12", "listen.owner": "games"}, nobody | {"group man": True}),
        ({"listen.owner": "games"}, nobody | {"games": True, "group man": True}),
        ({}, nobody),
        ({"listen.acl_users": "daemon", "listen.mode": "0666"}, everybody),
        ({"listen.group": "man", "listen.mode": "0660"}, nobody | {"group man": True}),
    ]
    with holding(fpm, HOLD) as (request,):
        for settings, expected in changes:
            fpm.configure({"www": {**pool, **settings}})
            reload(fpm, changed=True)
            assert allowed(fpm) == expected, settings
            assert os.stat(path).st_ino == inode, "it is the same socket, and nobody has been refused meanwhile"
        assert worker in fpm.workers("www")
    assert request.result().status == 200
    assert ATTRIBUTE not in os.listxattr(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660


@pytest.mark.root
def test_owner_and_group_do_not_count_beside_a_list(daemon: Start) -> None:
    """The socket of the status page has the same list."""
    fpm = daemon({}, started=False)
    page = str(fpm.directory / "page.sock")
    www = {"listen.owner": "games", "listen.acl_users": "daemon", "listen.mode": "0660", "pm.status_listen": page}
    fpm.configure({"www": www})
    fpm.start()
    assert allowed(fpm) == {"nobody": False, "daemon": True, "group man": False, "games": False}
    assert os.stat(str(fpm.address("www"))).st_uid == os.geteuid()
    assert "listen.owner: is ignored, as listen.acl_users is set" in fpm.log()
    assert may_connect(page, "daemon")
    assert not may_connect(page, "nobody")


@pytest.fixture
def ramfs(directory: Path) -> Iterator[Path]:
    """A directory whose file system has no access control lists."""
    subprocess.run(["mount", "-t", "ramfs", "ramfs", directory], check=True, timeout=60)
    directory.chmod(0o755)
    yield directory
    subprocess.run(["umount", directory], check=True, timeout=60)


@pytest.mark.root
def test_a_file_system_without_lists_is_named_by_the_test_and_by_the_start(daemon: Start, ramfs: Path) -> None:
    fpm = daemon({"www": {"listen": ramfs / "www.sock", "listen.acl_users": "daemon"}, "other": {}}, started=False)
    done = fpm.cli("test")
    assert done.returncode == 78
    sentence = f"its file system (ramfs on {ramfs}) has no access control lists. Set listen.group and listen.mode"
    assert f"[www] listen.acl_users: '{ramfs}/www.sock' cannot have an access control list: {sentence}" in done.stderr
    fpm.expect_log("no access control lists", "failed to start")
    fpm.start()
    assert fpm.get("other").status == 200
    assert not (ramfs / "www.sock").exists()


def abstract() -> str:
    """The address of an abstract socket that nobody else has."""
    return f"@pyfpm-test-{os.getpid()}"


def test_an_abstract_socket_serves_and_leaves_no_file(daemon: Start) -> None:
    page, all_ = f"{abstract()}-page", f"{abstract()}-all"
    www = {"listen": abstract(), "ping.path": "/ping", "pm.status_path": "/status", "pm.status_listen": page}
    fpm = daemon({"www": www}, global_={"status_listen": all_})
    assert fpm.get("www").status == 200
    assert f"every process in this network namespace can connect to {abstract()}" in fpm.log()
    for target in (abstract(), f"unix:{abstract()}", "www"):
        assert fpm.cli("ping", target).stdout == "pong\n"
    assert "Hello" in fpm.cli("request", abstract(), "/").stdout
    assert fpm.figures("www")["listen queue len"] > 0
    assert sorted(path.name for path in fpm.directory.iterdir() if path.is_socket()) == ["control.sock", "notify"]
    assert raw_fastcgi.get(f"\0{page[1:]}", "/status").status == 200
    reload(fpm)
    assert raw_fastcgi.get(f"\0{page[1:]}", "/status").status == 200
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{all_[1:]}")
    fpm.signal(signal.SIGQUIT)
    assert fpm.wait() == 0
    with socket.socket(socket.AF_UNIX) as again:
        again.bind(f"\0{abstract()[1:]}")  # it is free


def test_an_abstract_socket_stays_through_reload_upgrade_and_kill(daemon: Start) -> None:
    pool = {"app": "slow:application", "pm.max_children": 2, "listen": abstract()}
    fpm = daemon({"www": pool})
    with holding(fpm, HOLD) as (request,):
        for command in ("reload", "upgrade"):
            assert fpm.ask(command)["ok"]
            assert fpm.get("www", query="0").status == 200
    assert request.result().status == 200
    fpm.expected_exit = -signal.SIGKILL
    family = fpm.processes()
    os.kill(fpm.pid, signal.SIGKILL)
    fpm.wait()
    wait_until(lambda: not any(map(lives, family)))  # they have the socket until they have ended
    later = daemon({"www": pool})
    wait_until(lambda: later.get("www", query="0").status == 200)


def test_an_abstract_socket_that_somebody_has_is_named(daemon: Start) -> None:
    with socket.socket(socket.AF_UNIX) as owner:
        owner.bind(f"\0{abstract()[1:]}")
        owner.listen()
        fpm = daemon({"www": {"listen": abstract()}, "other": {}}, started=False)
        fpm.expect_log("failed to start")
        fpm.start()
        fpm.wait_log(rf"\[pool www\] failed to start: cannot listen on {abstract()}: the address is in use by another")
        assert fpm.get("other").status == 200
        fpm.signal(signal.SIGQUIT)  # before the address is free, which the pool would take
        assert fpm.wait() == 0
