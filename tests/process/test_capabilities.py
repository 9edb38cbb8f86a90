"""A pool of another user than the daemon's has no capability left, and no way to one."""

from __future__ import annotations

import json
import os

import pytest

from fpm.config.local_abilities import look
from tests.process.test_master_user import owned, run_as
from tests.support.fpm import POOL_USER, Start
from tests.support.pools import write_app
from tests.support.processes import status_of

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
BACK = """
import ctypes, json, os

libc = ctypes.CDLL(None, use_errno=True)

def prctl(*arguments):
    if libc.prctl(*[ctypes.c_ulong(one) for one in (*arguments, 0, 0, 0, 0)][:5]) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

WAYS = {
    "setuid": lambda: os.setuid(0),
    "seteuid": lambda: os.seteuid(0),
    "setresuid": lambda: os.setresuid(-1, -1, 0),
    "setgid": lambda: os.setgid(0),
    "setegid": lambda: os.setegid(0),
    "setgroups": lambda: os.setgroups([0]),
    "ambient": lambda: prctl(47, 2, 1),
    "keep": lambda: prctl(28, 0x2F),
    "privileges": lambda: prctl(38, 0),
    "kill init": lambda: os.kill(1, 0),
    "chown": lambda: os.chown(__file__, 0, 0),
    "chroot": lambda: os.chroot("/"),
    "nice": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
}

def application(environ, start_response):
    found = {"ids": [os.getresuid(), os.getresgid()]}
    for name, way in WAYS.items():
        try:
            way()
            found[name] = "done"
        except OSError as error:
            found[name] = error.strerror
    found["status"] = dict(line.split(":", 1) for line in open("/proc/self/status"))
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]
"""


@pytest.mark.root
def test_there_is_no_way_back_to_root(daemon: Start) -> None:
    pools = {"www": {"app": "back:application"}, "late": {"app": "back:application", "preload": "no"}}
    fpm = daemon(pools, started=False)
    write_app(fpm, "back", BACK)
    fpm.start()
    for pool in pools:
        found = json.loads(fpm.get(pool).body)
        assert found.pop("ids") == [[65534] * 3, [65534] * 3]
        status = found.pop("status")
        assert {name: int(status[name], 16) for name in SETS} == dict.fromkeys(SETS, 0), pool
        # Nothing can be added to, or kept in, sets that are empty.
        assert {name for name, said in found.items() if said == "done"} == set(), found
        for title in ("template", "pool"):
            (process,) = fpm.processes(f"{title} {pool}")
            assert {name: int(status_of(process.pid)[name], 16) for name in SETS} == dict.fromkeys(SETS, 0)


@pytest.mark.root
def test_what_is_granted_is_kept(daemon: Start) -> None:
    """A setuid program needs the bounding set, and a pool of root's is root."""
    fpm = daemon({"sudo": {"no_new_privs": False}, "root": {"user": "root"}}, started=False)
    fpm.start("-R", "run")
    sudo, root = (status_of(fpm.workers(pool)[0]) for pool in ("sudo", "root"))
    assert int(sudo["CapEff"], 16) == int(sudo["CapInh"], 16) == 0
    assert sudo["CapBnd"] == root["CapBnd"] == status_of(fpm.pid)["CapBnd"]
    assert root["CapEff"] == status_of(fpm.pid)["CapEff"]


@pytest.mark.root
def test_a_daemon_without_the_right_to_bound_goes_on(daemon: Start) -> None:
    """no_new_privs says the same of programs that are executed."""
    fpm = daemon({"www": {}}, started=False)
    fpm.start(wrapper=("/usr/bin/setpriv", "--bounding-set=-setpcap", "--inh-caps=-setpcap"))
    status = status_of(fpm.workers("www")[0])
    assert fpm.get("www").status == 200
    assert status["NoNewPrivs"] == "1"
    assert {int(status[name], 16) for name in SETS if name != "CapBnd"} == {0}


@pytest.mark.root
@pytest.mark.skipif("jail" in look(is_root=False).missing, reason="users may not make namespaces here")
@pytest.mark.parametrize("wrapper", [(), run_as(POOL_USER)], ids=["of root", "of a user"])
def test_a_user_namespace_gives_none(daemon: Start, wrapper: tuple[str, ...]) -> None:
    """Who makes one has every capability in it."""
    pool = {"app": "back:application", "namespaces": "user", "isolation": "none", "user": None if wrapper else "nobody"}
    fpm = daemon({"www": pool}, started=False)
    write_app(fpm, "back", BACK)
    if wrapper:
        owned(fpm)
        os.chmod(fpm.directory / "notify", 0o666)
    fpm.start(wrapper=wrapper)
    found = json.loads(fpm.get("www").body)
    status = found.pop("status")
    assert {name: int(status[name], 16) for name in SETS} == dict.fromkeys(SETS, 0)
    assert found["chroot"] == "Operation not permitted"
