"""Control groups of pools, in the machine's own tree of cgroup v2: members, figures, limits; nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fpm.cgroups.bounds import MASTER, daemon_group, pool_group
from fpm.cgroups.files import opened, remove_group
from fpm.cgroups.local import look_at_support
from fpm.cgroups.support import Support
from tests.process.test_master_user import owned, run_as
from tests.support.fpm import POOL_USER, Daemon, Start
from tests.support.looking import fetch, read_metrics
from tests.support.pools import facts, free_port, wait_state, write_app
from tests.support.reloads import reload, upgrade
from tests.support.waiting import wait_until

SUPPORT = look_at_support() if os.geteuid() == 0 else Support(missing="for root alone")
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(SUPPORT.missing), reason=f"no group may be made here: {SUPPORT.missing}"),
]
GROUP = {"cgroup": "yes"}


def needs(*controllers: str) -> pytest.MarkDecorator:
    """Skip where cgroup v2 has not got a controller."""
    missing = sorted(set(controllers) - SUPPORT.controllers)
    return pytest.mark.skipif(bool(missing), reason=f"cgroup v2 has no {' '.join(missing)} here")


def top_of(fpm: Daemon, base: str = SUPPORT.base) -> Path:
    """The directory of all groups of a daemon."""
    return Path(base) / daemon_group(str(fpm.control))


def group_of(fpm: Daemon, pool: str, base: str = SUPPORT.base) -> Path:
    """The directory of a pool's group."""
    return top_of(fpm, base) / pool_group(pool)


def members(group: Path) -> set[int]:
    """The processes of a group."""
    return set(map(int, (group / "cgroup.procs").read_text().split()))


def pids(fpm: Daemon, *titles: str) -> set[int]:
    """The processes of a daemon with these titles."""
    return {process.pid for title in titles for process in fpm.processes(title)}


def stop(fpm: Daemon) -> None:
    """Stop it as `pyfpm stop` does, which need not be started for that."""
    fpm.signal(signal.SIGQUIT)
    assert fpm.wait() == 0


def figure(fpm: Daemon, pool: str, key: str) -> int | None:
    """One of the figures of the status page."""
    found: int | None = fpm.figures(pool).get(key)
    return found


def wait_members(fpm: Daemon, base: str = SUPPORT.base) -> None:
    """Wait until the group of the pool www has the pool's processes and no others: former templates leave last."""
    wait_until(
        lambda: members(group_of(fpm, "www", base)) == pids(fpm, "template www", "pool www"),
        message="the group never has just the pool's processes",
    )


STARTS = """
import subprocess

started = []

def application(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/burn":
        end = __import__("time").process_time() + 0.3
        while __import__("time").process_time() < end:
            pass
        return [b"burnt"]
    if environ["PATH_INFO"] == "/end":
        started[-1].kill()
        return [str(started.pop().wait()).encode()]
    started.append(subprocess.Popen(["/bin/sleep", "60"]))
    return [str(started[-1].pid).encode()]
"""


def test_members_and_figures_over_reload_and_upgrade(daemon: Start) -> None:
    port = free_port()
    pools = {"www": {"app": "starts:application", **GROUP}, "plain": {}, "broken": {"app": "broken_import:a", **GROUP}}
    fpm = daemon(pools, global_={"status_listen": f"127.0.0.1:{port}"}, started=False)
    write_app(fpm, "starts", STARTS)
    fpm.expect_log(r"\[pool broken\]")
    fpm.start()
    group = group_of(fpm, "www")
    inode = group.stat().st_ino
    assert not group_of(fpm, "plain").exists()
    wait_until(lambda: pids(fpm, "unavailable broken"), message="the responder")
    wait_until(lambda: not members(group_of(fpm, "broken")), message="the responder needs no group")
    for again in (False, True):
        child = int(fpm.get("www").body)
        wait_until(lambda child=child: child in members(group))
        wait_until(
            lambda child=child: members(group) >= pids(fpm, "template www", "pool www") | {child},
            message="a process of the pool is outside of its group",
        )
        assert not members(group) & (pids(fpm, "template plain", "pool plain") | {fpm.pid})
        assert fpm.get("www", "/end").body == b"-9"
        if not again:
            before = fpm.workers("www")
            reload(fpm, "www")
            wait_until(lambda before=before: not set(before) & set(fpm.workers("www")))
            upgrade(fpm)
            fpm.wait_notify("READY=1")
        assert group.stat().st_ino == inode
    assert fpm.get("www", "/burn").body == b"burnt"
    wait_until(lambda: (figure(fpm, "www", "cgroup cpu") or 0) >= 300, message="the CPU time of the group")
    if (group / "cpu.pressure").exists():
        assert {"cpu pressure", "memory pressure", "io pressure"} <= set(fpm.figures("www"))
    assert "cgroup cpu" not in fpm.figures("plain")
    assert "cgroup cpu:" in fpm.cli("status", "--format", "text", "www").stdout
    found = json.loads(fpm.cli("status", "--format", "json", "www").stdout)
    assert isinstance(found["cgroup cpu"], int)
    shown = read_metrics(fetch(port, "/metrics").body)
    assert shown["pyfpm_cgroup_cpu_seconds_total", "www"] >= 0.3
    assert ("pyfpm_cgroup_cpu_seconds_total", "plain") not in shown
    stop(fpm)
    assert not top_of(fpm).exists()


def test_a_group_begins_and_ends_with_its_pool(daemon: Start) -> None:
    fpm = daemon({"www": {}, "shop": GROUP, "kept": GROUP})
    assert not group_of(fpm, "www").exists()
    former = fpm.workers("www")
    fpm.configure({"www": GROUP, "kept": {}})
    reload(fpm, changed=True)
    wait_until(lambda: not set(former) & set(fpm.workers("www")))
    wait_members(fpm)
    wait_until(lambda: not group_of(fpm, "shop").exists(), message="a removed pool's")
    wait_until(lambda: not group_of(fpm, "kept").exists(), message="that of a pool which wants none any more")
    # Another address: for a while there are two supervisors of one name.
    fpm.configure({"www": {**GROUP, "listen": fpm.directory / "other.sock"}, "kept": {}})
    reload(fpm, changed=True)
    wait_until(lambda: facts(fpm, "www")["state"] == "running" and len(pids(fpm, "template www", "pool www")) == 2)
    wait_until(lambda: figure(fpm, "www", "cgroup cpu") is not None)
    wait_members(fpm)


def test_a_killed_daemons_groups_are_taken_over_or_removed(daemon: Start) -> None:
    fpm = daemon({"www": GROUP, "gone": GROUP})
    fpm.expected_exit = -signal.SIGKILL
    os.kill(fpm.pid, signal.SIGKILL)
    fpm.wait()
    wait_until(lambda: not members(group_of(fpm, "gone")) | members(group_of(fpm, "www")), message="workers leave")
    fpm.configure({"www": GROUP})
    (fpm.directory / "gone.sock").unlink()
    fpm.expected_exit = 0
    fpm.start()
    wait_until(lambda: not group_of(fpm, "gone").exists())
    wait_members(fpm)


def test_a_generation_that_fails_leaves_nothing_and_a_group_in_use_is_removed_later(daemon: Start) -> None:
    fpm = daemon({"www": {}, "shop": GROUP})
    fpm.configure({"www": {**GROUP, "app": "broken_import:application"}, "shop": GROUP})
    fpm.expect_log("reload failed", "^.*ERROR:  ")
    assert not fpm.ask("reload")["ok"]
    assert fpm.get("www").status == 200
    with subprocess.Popen(["/bin/sleep", "60"]) as stranger:
        (group_of(fpm, "shop") / "cgroup.procs").write_text(str(stranger.pid))
        (group_of(fpm, "shop") / "inner").mkdir()
        fpm.configure({"www": {}})
        reload(fpm)
        wait_until(lambda: not group_of(fpm, "www").exists(), message="that of the generation that has failed")
        wait_until(lambda: members(group_of(fpm, "shop")) == {stranger.pid})
        assert fpm.get("www").status == 200
        stranger.kill()
    wait_until(lambda: not group_of(fpm, "shop").exists())


LEAVES = """
import errno, os

def attempt(action):
    try:
        action()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def write(path, text):
    with open(path, "w") as file:
        file.write(text)

def application(environ, start_response):
    start_response("200 OK", [])
    own = environ["QUERY_STRING"]
    groups = (os.path.dirname(os.path.dirname(own)), os.path.dirname(own), own)
    found = [attempt(lambda: write(f"{group}/cgroup.procs", str(os.getpid()))) for group in groups]
    found += [attempt(lambda: write(f"{own}/{name}", "1")) for name in ("cgroup.kill", "cgroup.freeze", "cpu.pressure")]
    found += [attempt(lambda: os.mkdir(f"{own}/inner")), attempt(lambda: os.rmdir(own))]
    return [" ".join(found).encode()]
"""


def test_an_application_cannot_leave_its_group_and_what_is_left_at_the_end_is_said(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "leaves:application", **GROUP}}, started=False)
    write_app(fpm, "leaves", LEAVES)
    fpm.start()
    found = fpm.get("www", query=str(group_of(fpm, "www"))).body.decode().split()
    assert set(found) == {"EACCES"}, found
    wait_members(fpm)
    with subprocess.Popen(["/bin/sleep", "60"]) as stranger:
        (group_of(fpm, "www") / "cgroup.procs").write_text(str(stranger.pid))
        fpm.expect_log("cannot be removed, it still has processes")
        stop(fpm)
        stranger.kill()
    assert f"the cgroup {group_of(fpm, 'www')} cannot be removed" in fpm.log()
    with opened(SUPPORT.base) as base:
        wait_until(lambda: remove_group(base, top_of(fpm).name))


# ---------------------------------------------------------------- where it cannot be


@pytest.mark.skipif("memory" in SUPPORT.controllers, reason="cgroup v2 has the controller")
def test_a_controller_that_is_missing_is_an_obstacle_of_the_pool(daemon: Start) -> None:
    fpm = daemon({"www": {}, "bound": {"cgroup.memory_max": "100M"}}, started=False)
    found = fpm.cli("test")
    assert found.returncode == 78
    assert "[bound] cgroup.memory_max: the controller memory is in cgroup v1 on this machine" in found.stderr
    assert "systemd.unified_cgroup_hierarchy=1" in found.stderr
    fpm.expect_log(r"pool bound\b")
    fpm.start()
    assert (fpm.get("bound").status, fpm.get("www").status) == (503, 200)
    assert "cgroup.memory_max: the controller memory" in facts(fpm, "bound")["error"]


@contextmanager
def inner_group(name: str) -> Iterator[Path]:
    """A group below the root, removed in the end."""
    path = Path(SUPPORT.base) / f"pyfpm-test-{name}-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        with opened(SUPPORT.base) as base:
            wait_until(lambda: remove_group(base, path.name))


def entering(group: Path) -> tuple[str, ...]:
    """The wrapper that puts a command into a group."""
    return ("/bin/sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh")


def test_a_group_that_is_not_delegated(daemon: Start) -> None:
    fpm = daemon({"www": {}, "bound": GROUP}, started=False)
    fpm.expect_log(r"pool bound\b")
    with inner_group("foreign") as group:
        found = fpm.cli("test", wrapper=entering(group))
        assert found.returncode == 78
        said = f"the cgroup of this process, /{group.name}, is not delegated to it. Write Delegate=yes below [Service]"
        assert f"[bound] cgroup: {said}" in found.stderr
        fpm.start(wrapper=entering(group))
        assert said in wait_state(fpm, "bound", "failed")["error"]
        assert fpm.get("www").status == 200
        stop(fpm)


def test_in_a_session_of_somebody_who_tests_it_is_only_said(daemon: Start) -> None:
    fpm = daemon({"www": GROUP}, started=False)
    path = Path(SUPPORT.base) / f"pyfpm-test-{os.getpid()}.scope"
    path.mkdir()
    try:
        found = fpm.cli("test", wrapper=entering(path))
        assert (found.returncode, "[www] cgroup: the cgroup of this process" in found.stderr) == (0, True)
    finally:
        wait_until(lambda: _is_removed(path))


def _is_removed(path: Path) -> bool:
    with suppress(OSError):
        path.rmdir()
    return not path.exists()


def mark(group: Path) -> None:
    """Delegate a group as systemd does."""
    try:
        os.setxattr(group, "trusted.delegate", b"1")
    except OSError as error:
        pytest.skip(f"the mark cannot be set here: {error.strerror}")


def test_a_delegated_group_is_left_free_for_groups_below(daemon: Start) -> None:
    fpm = daemon({"www": GROUP, "plain": {}}, started=False)
    with inner_group("service") as service:
        mark(service)
        assert fpm.cli("test", wrapper=entering(service)).returncode == 0
        fpm.start(wrapper=entering(service))
        base = str(service)
        for again in (False, True):
            assert not members(service), "no process beside groups with controllers"
            wait_members(fpm, base)
            # What another pool has forked before may have come with the master, or with its group.
            assert fpm.pid in members(top_of(fpm, base) / MASTER)
            assert pids(fpm, "pool plain") <= members(top_of(fpm, base) / MASTER)
            if not again:
                upgrade(fpm)
                fpm.wait_notify("READY=1")
                before = fpm.workers("www")
                reload(fpm)
                fpm.wait_notify("READY=1")
                wait_until(lambda before=before: not set(before) & set(fpm.workers("www")))
        stop(fpm)
        assert not top_of(fpm, base).exists(), "all is as it was"
        assert not (service / "cgroup.subtree_control").read_text().split()
        fpm.start(wrapper=entering(service))
        wait_members(fpm, base)
        stop(fpm)


def test_others_than_root_have_no_group_without_delegation(daemon: Start) -> None:
    fpm = owned(daemon({"www": GROUP}, started=False))
    found = fpm.cli("test", wrapper=run_as(POOL_USER))
    assert found.returncode == 78
    assert "is not delegated to it" in found.stderr


# ---------------------------------------------------------------- limits, where the kernel has the controllers

GREEDY = """
import os, threading, time

def application(environ, start_response):
    start_response("200 OK", [])
    path = environ["PATH_INFO"]
    if path == "/threads":
        made = 0
        try:
            for _ in range(200):
                threading.Thread(target=time.sleep, args=(2,), daemon=True).start()
                made += 1
        except RuntimeError:
            pass
        return [str(made).encode()]
    if path == "/memory":
        kept = [bytearray(os.urandom(1 << 20)) for _ in range(400)]
        return [str(len(kept)).encode()]
    end, begun = time.process_time() + 0.4, time.monotonic()
    while time.process_time() < end:
        pass
    return [str(time.monotonic() - begun).encode()]
"""


def greedy(daemon: Start, **directives: object) -> Daemon:
    """A daemon with an application that takes what it gets."""
    named = {f"cgroup.{name}": value for name, value in directives.items()}
    fpm = daemon({"www": {"app": "greedy:application", **named}}, started=False)
    write_app(fpm, "greedy", GREEDY)
    fpm.start()
    return fpm


@needs("pids")
def test_pids_max(daemon: Start) -> None:
    fpm = greedy(daemon, pids_max=20)
    assert (group_of(fpm, "www") / "pids.max").read_text() == "20\n"
    assert 5 < int(fpm.get("www", "/threads").body) < 20
    wait_until(lambda: 0 < (figure(fpm, "www", "cgroup tasks") or 0) < 5, message="the threads have ended")


@needs("cpu")
def test_cpu_max_and_its_change_without_a_new_generation(daemon: Start) -> None:
    fpm = greedy(daemon, cpu_max="20%", cpu_weight=50)
    group, workers = group_of(fpm, "www"), fpm.workers("www")
    assert [(group / name).read_text() for name in ("cpu.max", "cpu.weight")] == ["20000 100000\n", "50\n"]
    assert float(fpm.get("www", "/cpu").body) > 1.2  # 0.4 s of CPU time at a fifth of a CPU
    wait_until(lambda: (figure(fpm, "www", "cgroup throttled") or 0) > 500)
    fpm.configure({"www": {"app": "greedy:application", "cgroup.cpu_max": "90000 100000"}})
    reload(fpm, changed=True)
    wait_until(
        lambda: [(group / name).read_text() for name in ("cpu.max", "cpu.weight")] == ["90000 100000\n", "100\n"]
    )
    assert fpm.workers("www") == workers


@needs("io")
def test_io_weight(daemon: Start) -> None:
    fpm = daemon({"www": {"cgroup.io_weight": 77}}, started=False)
    fpm.expect_log(r"pool www\b")
    fpm.start()
    file = group_of(fpm, "www") / "io.weight"
    if file.exists():
        assert file.read_text().splitlines()[0] == "default 77"
    else:
        assert (
            "cgroup.io_weight cannot be applied (default 77): this kernel has no io.weight"
            in (facts(fpm, "www")["error"])
        )


@needs("memory")
def test_memory_max_kills_and_the_certificate_says_so(daemon: Start) -> None:
    fpm = greedy(daemon, memory_max="120M", memory_high="110M")
    fpm.expect_log(r"exited on signal 9")
    with suppress(OSError, EOFError, AssertionError):
        fpm.get("www", "/memory", timeout=30)
    fpm.wait_log(r"out of memory: killed by the kernel .*its cgroup's memory.events: .*oom_kill 1")
    wait_until(lambda: (figure(fpm, "www", "cgroup oom kills") or 0) >= 1)


@needs("memory")
def test_a_lower_memory_limit_is_written_while_the_pool_serves(daemon: Start) -> None:
    fpm = greedy(daemon, memory_max="2G")
    group, workers = group_of(fpm, "www"), fpm.workers("www")
    for size in (300, 200, 1000):
        fpm.configure({"www": {"app": "greedy:application", "cgroup.memory_max": f"{size}M"}})
        reload(fpm, changed=True)
        wait_until(lambda size=size: (group / "memory.max").read_text() == f"{size << 20}\n")
    assert fpm.workers("www") == workers
