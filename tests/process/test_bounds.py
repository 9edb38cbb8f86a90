"""What the processes of a pool may take of the machine, seen from inside and by the kernel's own files."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import signal
from pathlib import Path
from typing import Any

import pytest

from fpm.config.local_cpus import online_cpus
from tests.process.test_identity import limits_of
from tests.process.test_master_user import owned, run_as
from tests.support.fpm import POOL_USER, Daemon, Start
from tests.support.pools import echo, facts, wait_state, write_app
from tests.support.processes import status_of
from tests.support.reloads import reload, upgrade
from tests.support.waiting import wait_until

ECHO = {"app": "echo:application"}
IOPRIO_GET = {"x86_64": 252, "aarch64": 31, "riscv64": 31}.get(os.uname().machine)
CLASSES = {0: "none", 1: "realtime", 2: "best-effort", 3: "idle"}
INHERITED = (
    *("Max address space", "Max file size", "Max locked memory", "Max processes", "Max core file size"),
    *("Max cpu time", "Max stack size", "Max data size", "Max pending signals"),
)


def io_priority_of(pid: int) -> tuple[str, int]:
    """Class and level, by ioprio_get(2)."""
    if IOPRIO_GET is None:
        pytest.skip("the number of ioprio_get(2) is not known here")
    value = ctypes.CDLL(None).syscall(*map(ctypes.c_long, (IOPRIO_GET, 1, pid)))
    return CLASSES[value >> 13], value & 7


def bounds_of(pid: int) -> dict[str, Any]:
    """All bounds of a process that has nothing to say in it."""
    limits, status = limits_of(pid), status_of(pid)
    return {
        "limits": {name: limits[name] for name in INHERITED if name in limits},
        "cpus": os.sched_getaffinity(pid),
        "io": io_priority_of(pid),
        "oom": int(Path(f"/proc/{pid}/oom_score_adj").read_text()),
        "umask": int(status["Umask"], 8),
        "groups": set(map(int, status["Groups"].split())),
    }


def processes_of(fpm: Daemon, pool: str) -> list[int]:
    """A pool's template and its worker."""
    return [process.pid for title in ("template", "pool") for process in fpm.processes(f"{title} {pool}")]


ALL = {
    "rlimit_as": "2G",
    "rlimit_fsize": "8M",
    "rlimit_memlock": "64K",
    "rlimit_processes": 500,
    "cpu_affinity": str(max(online_cpus())),
    "io_priority": "best-effort 6",
    "oom_score_adjust": 321,
    "umask": "027",
}


def assert_all(pid: int) -> None:
    """ALL holds for this process."""
    found = bounds_of(pid)
    for name, value in (
        ("Max address space", 2 << 30),
        ("Max file size", 8 << 20),
        ("Max locked memory", 64 << 10),
        ("Max processes", 500),
    ):
        assert found["limits"][name] == [str(value)] * 2, name
    assert found["cpus"] == {max(online_cpus())}
    assert found["io"] == ("best-effort", 6)
    assert (found["oom"], found["umask"]) == (321, 0o027)


@pytest.mark.root
def test_every_bound_holds_in_all_processes_and_after_reload_and_upgrade(daemon: Start) -> None:
    """But in the responder's, where they could fail; and a reload changes them."""
    pools: dict[str, dict[str, object]] = {
        "www": {**ECHO, **ALL},
        "late": {**ECHO, **ALL, "preload": "no"},
        "plain": ECHO,
        "changing": {**ECHO, **ALL},
        "broken": {**ALL, "app": "broken_import:application"},
    }
    fpm = daemon(pools, started=False)
    fpm.expect_log(r"pool broken\b", "next try")
    fpm.start()
    own = bounds_of(fpm.pid)
    assert_bounds(fpm, own)
    assert fpm.get("broken").status == 503
    (responder,) = fpm.processes("unavailable broken")
    assert bounds_of(responder.pid)["oom"] == own["oom"]
    upgrade(fpm)
    fpm.wait_notify("READY=1")
    assert_bounds(fpm, own)
    assert_all(fpm.workers("changing")[0])
    before = [pid for pool in ("www", "late", "plain", "changing") for pid in fpm.workers(pool)]
    del pools["broken"]
    pools["changing"] = {**ECHO, "io_priority": "idle", "rlimit_as": "unlimited", "oom_score_adjust": 5}
    fpm.configure(pools)
    reload(fpm)
    wait_until(lambda: not set(before) & {pid for pool in pools for pid in fpm.workers(pool)})
    assert_bounds(fpm, own)
    assert bounds_of(fpm.pid) == own, "the master's are its own"
    found = bounds_of(fpm.workers("changing")[0])
    assert (found["io"][0], found["oom"]) == ("idle", 5)
    assert found["limits"]["Max address space"] == ["unlimited"] * 2
    assert found["cpus"] == os.sched_getaffinity(fpm.pid)


def the_two_of(fpm: Daemon, pool: str) -> list[int]:
    """A pool's processes, once those of a former generation have left."""
    return wait_until(lambda: len(found := processes_of(fpm, pool)) == 2 and found)


def assert_bounds(fpm: Daemon, own: dict[str, Any]) -> None:
    """All bounds hold for the pools that want them, and the master's for the one that wants none."""
    for pool in ("www", "late"):
        pids = the_two_of(fpm, pool)
        for pid in pids:
            assert_all(pid)
        assert echo(fpm, pool)["pid"] in pids
    for pid in the_two_of(fpm, "plain"):
        assert bounds_of(pid) == {**own, "groups": bounds_of(pid)["groups"]}


MASKS = """
import os
os.umask(0)

def application(environ, start_response):
    start_response("200 OK", [])
    os.close(os.open(environ["QUERY_STRING"], os.O_CREAT | os.O_WRONLY, 0o666))
    return [b"done"]
"""


def test_the_pools_umask_stands_although_the_import_sets_another(daemon: Start) -> None:
    pools = {
        f"{name}-{preload}": {"app": "masks:application", "preload": preload, **own}
        for preload in ("yes", "no")
        for name, own in {"own": {"umask": "0077"}, "none": {}}.items()
    }
    fpm = daemon(pools, started=False)
    write_app(fpm, "masks", MASKS)
    out = fpm.directory / "out"
    out.mkdir()
    out.chmod(0o777)
    fpm.start()
    for pool in pools:
        assert fpm.get(pool, query=str(out / pool)).status == 200
        assert (out / pool).stat().st_mode & 0o777 == (0o600 if pool.startswith("own") else 0o666), pool


@pytest.mark.root
def test_supplementary_groups_take_the_place_of_memberships(daemon: Start) -> None:
    account = next(
        user for user in pwd.getpwall() if user.pw_uid and user.pw_gid and user.pw_name not in ("nobody", "sync")
    )
    others = [group for group in grp.getgrall() if group.gr_gid not in (0, account.pw_gid)][:2]
    pools = {
        "named": {"supplementary_groups": f"{others[0].gr_name}, {others[1].gr_gid}"},
        "none": {"supplementary_groups": "none"},
        "usual": {},
    }
    fpm = daemon({name: {**ECHO, "user": account.pw_name, **own} for name, own in pools.items()})
    expected = {
        "named": {account.pw_gid, others[0].gr_gid, others[1].gr_gid},
        "none": {account.pw_gid},
        "usual": set(os.getgrouplist(account.pw_name, account.pw_gid)),
    }
    for pool, groups in expected.items():
        for pid in processes_of(fpm, pool):
            assert bounds_of(pid)["groups"] == groups, pool


BREAKS = """
import errno, mmap, os, resource

def application(environ, start_response):
    start_response("200 OK", [])
    path = environ["QUERY_STRING"]
    try:
        if path:
            with open(path, "wb") as file:
                for _ in range(9):
                    file.write(bytes(1 << 20))
                    file.flush()
        else:
            mmap.mmap(-1, 3 << 30)
    except OSError as error:
        return [errno.errorcode[error.errno].encode()]
    return [b"nothing stopped it"]
"""


@pytest.mark.root
def test_what_goes_beyond_a_limit_fails_in_the_application_alone(daemon: Start) -> None:
    fpm = daemon({"www": {**ALL, "app": "breaks:application"}}, started=False)
    write_app(fpm, "breaks", BREAKS)
    out = fpm.directory / "out"
    out.mkdir()
    out.chmod(0o777)
    fpm.start()
    worker = fpm.workers("www")
    assert fpm.get("www", query=str(out / "large")).body == b"EFBIG"
    assert (out / "large").stat().st_size == 8 << 20
    assert fpm.get("www").body == b"ENOMEM"
    assert fpm.workers("www") == worker


def test_cpus_that_this_machine_lacks_are_an_obstacle_of_the_pool(daemon: Start) -> None:
    missing = max(online_cpus()) + 1
    fpm = daemon({"www": ECHO, "wrong": {"cpu_affinity": f"0,{missing}"}}, started=False)
    found = fpm.cli("test")
    assert found.returncode == 78
    assert f"[wrong] cpu_affinity: CPU {missing} is not online; this machine has " in found.stderr
    fpm.expect_log(r"pool wrong\b")
    fpm.start()
    assert (fpm.get("wrong").status, fpm.get("www").status) == (503, 200)


REFUSED: dict[str, tuple[object, str]] = {
    "rlimit_memlock": ("1G", "hard limit of 65536, which only root (CAP_SYS_RESOURCE) can raise"),
    "oom_score_adjust": (-7, "the daemon has {oom}, and only root (CAP_SYS_RESOURCE) can go below"),
    "io_priority": ("realtime 0", "Operation not permitted"),
    "process.priority": (-5, "Permission denied"),
}


@pytest.mark.root
def test_what_only_root_may_is_one_sentence_and_what_every_user_may(daemon: Start) -> None:
    refused = {name.replace(".", "-"): {**ECHO, name: value} for name, (value, _) in REFUSED.items()}
    own = {**ALL, "rlimit_memlock": "4K", "supplementary_groups": "none"}
    fpm = owned(daemon({**refused, "www": {**ECHO, **own}}, started=False))
    os.chmod(fpm.directory / "notify", 0o666)
    fpm.expect_log(*(rf"pool {pool}\b" for pool in refused))
    limit = ("/usr/bin/prlimit", "--memlock=65536:65536", "--")
    fpm.start(wrapper=(*limit, *run_as(POOL_USER)))
    oom = Path("/proc/self/oom_score_adj").read_text().strip()
    for name, (value, sentence) in REFUSED.items():
        said = wait_state(fpm, name.replace(".", "-"), "failed")["error"]
        assert said.startswith(f"cannot apply {name} = {1 << 30 if value == '1G' else value}: ")
        assert sentence.format(oom=oom) in said
    assert "Traceback" not in fpm.log()
    found = bounds_of(echo(fpm, "www")["pid"])
    assert (found["oom"], found["umask"], found["io"]) == (321, 0o027, ("best-effort", 6))
    assert found["limits"]["Max locked memory"] == ["4096"] * 2
    assert "'supplementary_groups' directive is ignored when pyfpm is not running as root" in fpm.log()
    assert facts(fpm, "www")["state"] == "running"


@pytest.mark.root
def test_cpus_outside_the_cpuset_are_never_left_out_in_silence(daemon: Start) -> None:
    """sched_setaffinity(2) says nothing of them."""
    tree = Path("/sys/fs/cgroup/cpuset")
    if len(online_cpus()) < 2 or not (tree / "cpuset.cpus").exists():
        pytest.skip("there is one CPU, or no cpuset of cgroup v1")
    first, last = min(online_cpus()), max(online_cpus())
    group = tree / f"pyfpm-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cpuset.cpus").write_text(str(first))
        (group / "cpuset.mems").write_text((tree / "cpuset.mems").read_text())
        enter = ("/bin/sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh")
        fpm = daemon({"www": ECHO, "wrong": {**ECHO, "cpu_affinity": f"{first},{last}"}}, started=False)
        fpm.expect_log(r"pool wrong\b")
        fpm.start(wrapper=enter)
        said = wait_state(fpm, "wrong", "failed")["error"]
        assert said == f"cannot apply cpu_affinity = {first},{last}: CPU {last} may not be used here (cpuset)"
        assert fpm.get("www").status == 200
        fpm.signal(signal.SIGTERM)
        fpm.wait()
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text().split())
        group.rmdir()
