"""What a worker holds, looked at from inside: its own descriptors, no rights, and no way back to any."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.inside import INSIDE, inside

pytestmark = pytest.mark.root

JAILS: dict[str, dict[str, object]] = {
    "none": {"isolation": "none"},
    "basic": {},
    "root": {"chroot.automount": True},
    "sealed": {"chroot.automount": True, "namespaces": "mount pid net ipc uts user cgroup"},
}
BROKEN = ("basic", "sealed")
"""Those of which there is a pool whose import fails."""
Held = dict[str, dict[str, Any]]
LOOK = """
import os, socket, stat
found = {}
for name in os.listdir("/proc/self/fd"):
    fd = int(name)
    try:
        mode = os.fstat(fd).st_mode
        kind = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        continue
    flags = int(open(f"/proc/self/fdinfo/{fd}").read().split("flags:")[1].split()[0], 8)
    entry = {"is": kind, "inode": os.fstat(fd).st_ino, "writable": bool(flags & 3), "mode": stat.S_IFMT(mode)}
    if stat.S_ISSOCK(mode):
        with socket.socket(fileno=os.dup(fd)) as one:
            entry |= {"type": int(one.type), "name": str(one.getsockname()), "family": int(one.family)}
            entry["listens"] = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    found[fd] = entry
answer = found
"""
MOST = Counter(
    {
        "/dev/null": 1,
        "pipe": 4,  # standard output and error, and one to itself, by which signals wake it
        "listening": 1,
        "accepted": 1,
        "pair": 5,  # its message channel, two for its log lines, both ends of the pool's parking socket
        "/memfd:pyfpm-spec": 1,
        "/memfd:pyfpm-bundle": 2,
        "/memfd:pyfpm-scoreboard": 2,
        "/memfd:pyfpm-stack": 1,
        "anon_inode:[eventpoll]": 1,
        "anon_inode:[eventfd]": 1,
        "access": 1,
    }
)
"""What a worker may hold, see fpm.protocol.spec, and how many of it."""


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    """A pool in each jail, and beside it one whose import fails."""
    fpm = shared_daemon({"none": {}}, started=False)
    logs = {"slowlog": "slow.log", "request_slowlog_timeout": "10s"}
    pools = {
        jail: {**INSIDE, **settings, "access.log": fpm.directory / f"{jail}.access", **logs}
        for jail, settings in JAILS.items()
    }
    broken = {"app": "broken_import:application", "private_tmp": True}
    pools |= {f"broken-{jail}": {**broken, **JAILS[jail]} for jail in BROKEN}
    fpm.configure(pools, global_={"error_log": "error.log", "status_listen": fpm.directory / "status.sock"})
    fpm.expect_log(r"\[pool broken-")
    return fpm.start()


def name_of(entry: dict[str, object]) -> str:
    """One word for a descriptor."""
    text = str(entry["is"])
    if stat.S_ISSOCK(int(str(entry["mode"]))):
        if entry["listens"]:
            return "listening"
        return "accepted" if entry["type"] == 1 else "pair"
    return re.sub(r":\[\d+\]$| \(deleted\)$", "", text) if not text.startswith("anon") else text


def test_a_worker_holds_its_own_descriptors_and_no_others(fpm: Daemon) -> None:
    found = {pool: inside(fpm, pool, LOOK) for pool in JAILS}
    for pool, held in found.items():
        names = Counter(name_of(entry) for entry in held.values())
        logs = {name for name in names if name.endswith(".access")}
        assert logs == {f"{fpm.directory}/{pool}.access"}
        names["access"] = names.pop(logs.pop())
        assert not names - MOST, (pool, names - MOST)
        assert held["10"]["name"] == str(fpm.address(pool))
        accepted = [entry["name"] for entry in held.values() if name_of(entry) == "accepted"]
        assert accepted == [str(fpm.address(pool))]
        assert {name_of(entry) for entry in held.values() if entry["mode"] == stat.S_IFDIR} == set(), pool
    private = (stat.S_IFSOCK, stat.S_IFIFO)
    assert_apart(found, lambda held: {entry["inode"] for entry in held.values() if entry["mode"] in private})
    assert_apart(found, lambda held: {held["6"]["inode"]})


def assert_apart(found: dict[str, Held], inodes: Callable[[Held], set[int]]) -> None:
    """No two pools have one of these in common, by which they could speak to each other."""
    for one, other in combinations(found, 2):
        assert not inodes(found[one]) & inodes(found[other]), (one, other)


@pytest.mark.parametrize("jail", JAILS)
def test_there_is_no_way_back(fpm: Daemon, jail: str) -> None:
    status = inside(fpm, jail, "answer = open('/proc/self/status').read()")
    lines = {name: value.split() for name, _, value in (line.partition(":") for line in status.splitlines())}
    assert lines["Uid"] == lines["Gid"] == ["65534"] * 4
    assert lines["Groups"] in ([], ["65534"])
    assert lines["NoNewPrivs"] == ["1"]
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(lines[name][0], 16) == 0
    code = """
    import os
    found = []
    calls = [os.setuid, os.seteuid, os.setgid, os.setegid]
    for call in calls:
        for number in (0, 1, 5):
            try:
                call(number)
                found.append((call.__name__, number))
            except OSError:
                pass
    for arguments in ((0, 0, 0), (-1, -1, 0), (-1, 0, -1), (0, -1, -1)):
        for call in (os.setresuid, os.setresgid):
            try:
                call(*arguments)
                found.append((call.__name__, *arguments))
            except OSError:
                pass
    answer = found
    """
    assert inside(fpm, jail, code) == []


@pytest.mark.parametrize("jail", BROKEN)
def test_the_503_responder_and_the_launcher_hold_nothing_more(fpm: Daemon, jail: str) -> None:
    """The responder is the master's own Python; the ends of what generations share are not for it."""
    assert fpm.get(f"broken-{jail}").status == 503
    (responder,) = fpm.processes(f"unavailable broken-{jail}")
    numbers = sorted(int(fd) for fd in os.listdir(f"/proc/{responder.pid}/fd"))
    assert [fd for fd in numbers if fd in (12, 13) and is_pair(responder.pid, fd)] == []


def is_pair(pid: int, fd: int) -> bool:
    """A socket that is neither listening nor a client's connection: SOCK_SEQPACKET (type 5)."""
    target = os.readlink(f"/proc/{pid}/fd/{fd}")
    found = re.fullmatch(r"socket:\[(\d+)\]", target)
    lines = Path("/proc/net/unix").read_text().splitlines()
    return found is not None and any(line.split()[6] == found[1] and line.split()[4] == "0005" for line in lines[1:])
