"""What a changed configuration does: live, in a new generation, to the listening sockets; and to nobody else."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from tests.support import raw_fastcgi as raw
from tests.support.fpm import Daemon, Start
from tests.support.pools import facts, numbers, wait_numbers
from tests.support.processes import descriptors
from tests.support.raw_fastcgi import get
from tests.support.reloads import load, refused, reload, reload_by_command, single, version_of, write_version
from tests.support.waiting import wait_until

Settings = dict[str, object]


def test_named_pools_only(daemon: Start) -> None:
    pools = {"a": {"app": "deployed:application"}, "b": {"app": "deployed:application"}, "c": {}}
    fpm = daemon(pools, started=False)
    write_version(fpm, 1)
    fpm.start()
    others = [fpm.workers("b"), fpm.workers("c")]
    write_version(fpm, 2)
    dry = fpm.cli("reload", "--dry-run", "a").stdout
    assert dry == f"pool a: new generation, code from {fpm.apps}\npool b: unchanged\npool c: unchanged\n"
    reload(fpm, "a")
    assert version_of(fpm, "a") == "2"
    assert version_of(fpm, "b") == "1"
    assert [fpm.workers("b"), fpm.workers("c")] == others
    reload(fpm, "b", "c")
    assert version_of(fpm, "b") == "2"
    wait_until(lambda: not set(others[1]) & set(fpm.workers("c")))
    assert [facts(fpm, name)["generation"] for name in "abc"] == [2, 2, 2]


def test_editing_one_pool_leaves_the_others_alone(daemon: Start) -> None:
    fpm = daemon({"a": {"app": "echo:application"}, "b": {}})
    former, others = fpm.workers("a"), fpm.workers("b")
    fpm.configure({"a": {"app": "echo:application", "env[COLOUR]": "blue"}, "b": {}})
    plan = f"pool a: new generation, code from {fpm.apps} (env)\npool b: unchanged\n"
    assert fpm.cli("reload", "--changed", "--dry-run").stdout == plan
    assert fpm.workers("a") == former
    said = reload_by_command(fpm, "--changed")
    assert said.startswith(plan)
    assert "pool a: importing" in said
    assert "1 of 1 workers swapped" in said
    assert json.loads(fpm.get("a").body)["os.environ"]["COLOUR"] == "blue"
    wait_until(lambda: not set(former) & set(fpm.workers("a")))
    assert fpm.workers("b") == others


BASE: Settings = {
    "app": "echo:application",
    "pm": "dynamic",
    "pm.max_children": 4,
    "pm.start_servers": 2,
    "pm.min_spare_servers": 2,
    "pm.max_spare_servers": 3,
}


def change(fpm: Daemon, settings: Settings, *, global_: Settings | None = None) -> str:
    """Reload with these settings, which must neither make a template nor end a worker that need not go."""
    fpm.configure({"www": settings}, global_=global_)
    templates = [process.pid for process in fpm.processes("template www")]
    generation = facts(fpm, "www")["generation"]
    plan = fpm.cli("reload", "--changed", "--dry-run").stdout
    reload(fpm, changed=True)
    # A worker bears its template's title for the first moment after the fork.
    wait_until(
        lambda: [process.pid for process in fpm.processes("template www")] == templates, message="a new template"
    )
    assert facts(fpm, "www")["generation"] == generation
    return plan


def test_numbers_of_workers_change_live(daemon: Start) -> None:
    fpm = daemon({"www": BASE})
    first = fpm.wait_workers("www", 2)
    assert "numbers changed, applied to the running workers (pm.max_children" in change(
        fpm, {**BASE, "pm.max_children": 6, "pm.start_servers": 4, "pm.min_spare_servers": 4, "pm.max_spare_servers": 5}
    )
    assert set(first) < set(fpm.wait_workers("www", 4))
    change(fpm, {**BASE, "pm": "static", "pm.max_children": 6})
    six = fpm.wait_workers("www", 6)
    assert set(first) < set(six)
    assert wait_numbers(fpm, "www", idle_processes=6)["process manager"] == "static"
    change(fpm, {**BASE, "pm": "static", "pm.max_children": 1})
    (last,) = fpm.wait_workers("www", 1)
    assert last in six
    fpm.configure({"www": {**BASE, "pm": "ondemand", "pm.process_idle_timeout": "1s"}})
    reload(fpm, changed=True)
    fpm.wait_workers("www", 0)
    assert fpm.get("www").status == 200
    wait_until(lambda: fpm.processes(" www") == [], message="workers and template leave when they are idle")
    change(fpm, {**BASE, "pm": "ondemand", "pm.process_idle_timeout": "600s"})
    assert fpm.get("www").status == 200
    assert len(fpm.workers("www")) == 1
    change(fpm, {**BASE, "pm": "static", "pm.max_children": 2})
    fpm.wait_workers("www", 2)


def test_numbers_down_under_load(daemon: Start) -> None:
    settings = {"app": "deployed:application", "pm.max_children": 5}
    fpm = daemon({"www": settings}, started=False)
    write_version(fpm, 1)
    fpm.start()
    with load(single(fpm, "www"), single(fpm, "www", "0.05"), single(fpm, "www", "0.01")) as found:
        for count in (1, 4, 2):
            change(fpm, {**settings, "pm.max_children": count})
            fpm.wait_workers("www", count)
        begun = len(found.good)
        wait_until(lambda: len(found.good) > begun + 20)
    assert found.bad == []


def test_what_workers_know_changes_live(daemon: Start) -> None:
    settings: Settings = {"app": "echo:application", "pm.max_children": 2}
    fpm = daemon({"www": settings})
    workers = fpm.workers("www")
    pages = {"pm.status_path": "/status", "ping.path": "/ping", "ping.response": "here"}
    assert json.loads(fpm.get("www", "/ping").body)["length"] == 0
    change(fpm, {**settings, **pages})
    wait_until(lambda: {fpm.get("www", "/ping").body for _ in range(8)} == {b"here"})
    wait_until(lambda: all(b"accepted conn" in fpm.get("www", "/status").body for _ in range(8)))
    change(fpm, {**settings, **pages, "ping.response": "moved", "ping.path": "/pong"})
    wait_until(lambda: {fpm.get("www", "/pong").body for _ in range(8)} == {b"moved"})
    assert fpm.get("www", "/ping").body.startswith(b"{")
    change(fpm, settings)
    wait_until(lambda: all(fpm.get("www", "/pong").body.startswith(b"{") for _ in range(8)))
    assert fpm.workers("www") == workers


def test_a_running_worker_tells_the_new_number_of_connections(daemon: Start) -> None:
    settings: Settings = {"app": "echo:application", "pm": "ondemand", "pm.process_idle_timeout": "1h"}
    fpm = daemon({"www": {**settings, "pm.max_children": 1}})
    assert fpm.get("www").status == 200
    (worker,) = fpm.workers("www")
    change(fpm, {**settings, "pm.max_children": 7})
    asked = raw.pairs({"FCGI_MAX_CONNS": "", "FCGI_MAX_REQS": ""})

    def told() -> dict[str, str]:
        with raw.Wire(fpm.address("www")) as wire:
            wire.send(raw.record(raw.GET_VALUES, asked, request=0))
            record = wire.read_record()
            assert record is not None
            return dict(raw.unpairs(record[2]))

    wait_until(lambda: told() == {"FCGI_MAX_CONNS": "7", "FCGI_MAX_REQS": "7"})
    assert fpm.workers("www") == [worker]


def test_access_log_changes_with_the_code(daemon: Start) -> None:
    settings: Settings = {"app": "echo:application", "pm.max_children": 1, "access.format": "%m %r"}
    fpm = daemon({"www": settings})
    first, second = fpm.directory / "first.log", fpm.directory / "second.log"
    for number, file in enumerate((first, second, second)):
        env = {"env[NUMBER]": str(number)}  # another environment is another generation
        (worker,) = fpm.workers("www")
        fpm.configure({"www": {**settings, **env, "access.log": file}})
        reload(fpm)
        wait_until(lambda worker=worker: worker not in fpm.workers("www"))
        assert fpm.get("www", f"/number{number}").status == 200
        line = f"GET /number{number}\n"
        wait_until(lambda file=file, line=line: file.exists() and line in file.read_text())
    assert "number1" not in first.read_text()
    fpm.expect_descriptors(file=1)


def test_access_log_changes_live(daemon: Start) -> None:
    settings: Settings = {"app": "echo:application", "pm.max_children": 2}
    fpm = daemon({"www": settings})
    workers = fpm.workers("www")
    first, second = fpm.directory / "first.log", fpm.directory / "second.log"

    def asked(path: str) -> str:
        for _ in range(6):
            assert fpm.get("www", path).status == 200
        return path

    def lines(file: Path, path: str) -> list[str]:
        return [line for line in file.read_text().splitlines() if path in line] if file.exists() else []

    asked("/before")
    change(fpm, {**settings, "access.log": first, "access.format": "%m %r"})
    wait_until(lambda: len(lines(first, asked("/one"))) >= 6)
    assert lines(first, "/before") == []
    assert set(lines(first, "/one")) == {"GET /one"}
    change(fpm, {**settings, "access.log": first, "access.format": "%s %r"})
    asked("/two")
    wait_until(lambda: lines(first, "/two")[-1:] == ["200 /two"])
    suppress = {"access.suppress_path[]": "/three"}
    change(fpm, {**settings, "access.log": second, "access.format": "%s %r", **suppress})
    asked("/three")
    wait_until(lambda: asked("/four") and lines(second, "/four"))
    assert lines(second, "/three") == []
    assert lines(first, "/four") == []
    with fpm.no_descriptor_leak():
        change(fpm, settings)
        size = second.stat().st_size
        asked("/five")
        assert second.stat().st_size == size
    assert fpm.workers("www") == workers


def test_an_access_log_that_cannot_be_opened(daemon: Start) -> None:
    settings: Settings = {"app": "echo:application"}
    fpm = daemon({"www": settings})
    workers = fpm.workers("www")
    fpm.configure({"www": {**settings, "access.log": fpm.directory}})
    assert "access.log: " in refused(fpm, status=78)
    assert fpm.get("www").status == 200
    assert fpm.workers("www") == workers


def test_max_requests_changes_live(daemon: Start) -> None:
    settings: Settings = {"app": "slow:application", "pm.max_children": 1}
    fpm = daemon({"www": settings})
    (former,) = fpm.workers("www")
    change(fpm, {**settings, "pm.max_requests": 3, "pm.max_requests_jitter": 0})
    pids = [fpm.get("www", query="0").body for _ in range(8)]
    assert pids.count(str(former).encode()) <= 4
    assert len(set(pids)) > 1
    change(fpm, settings)
    fpm.wait_workers("www", 1)
    wait_until(lambda: len({fpm.get("www", query="0").body for _ in range(8)}) == 1)


def test_allowed_clients_change_live(daemon: Start) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings: Settings = {"app": "echo:application", "listen": f"127.0.0.1:{port}"}
    fpm = daemon({"www": settings})
    workers = fpm.workers("www")
    assert fpm.get("www").status == 200
    change(fpm, {**settings, "listen.allowed_clients": "127.0.0.2"})
    fpm.expect_log("Connection disallowed: IP address '127.0.0.1' has been dropped")

    def disallowed() -> bool:
        try:
            return not get(fpm.address("www")).ended
        except ConnectionResetError:
            return True

    wait_until(disallowed)
    change(fpm, {**settings, "listen.allowed_clients": "127.0.0.1"})
    wait_until(lambda: not disallowed())
    assert fpm.workers("www") == workers


def test_global_values_change_live(daemon: Start) -> None:
    settings: Settings = {"app": "slow:application"}
    fpm = daemon({"www": settings}, global_={"process_control_timeout": "600s"})
    pid_file = fpm.directory / "other.pid"
    values: Settings = {"process_control_timeout": "1s", "log_level": "debug", "pid": pid_file}
    change(fpm, settings, global_=values)
    assert pid_file.read_text().strip() == str(fpm.pid)
    assert not fpm.pid_file.exists()
    fpm.pid_file = pid_file
    (worker,) = fpm.workers("www")
    fpm.expect_log("exited on signal 15")
    with load(lambda found: found.bad.append(fpm.get("www", query="60"))):
        wait_numbers(fpm, "www", active_processes=1)
        reload(fpm)
        fpm.wait_log(f"child {worker}, .*has not exited in time .reload., sending SIGTERM")
    assert f"NOTICE: pid {fpm.pid}: " in fpm.log(), "the form of log_level = debug"
    fpm.configure({"www": settings}, global_={**values, "process.max": 7, "control": fpm.control})
    reload(fpm)


def boards(fpm: Daemon) -> int:
    """Descriptors of scoreboards that the master has."""
    return sum("scoreboard" in target for target in descriptors(fpm.pid))


def test_more_children_than_there_is_room_for_make_a_generation(daemon: Start) -> None:
    settings: Settings = {"app": "deployed:application", "pm": "ondemand", "pm.max_children": 5}
    fpm = daemon({"www": settings}, started=False)
    write_version(fpm, 1)
    fpm.start()
    with load(single(fpm, "www"), single(fpm, "www", "0.02")) as found:
        wait_until(lambda: len(found.good) > 20)
        fpm.configure({"www": {**settings, "pm.max_children": 400}})
        plan = fpm.cli("reload", "--changed", "--dry-run").stdout
        assert plan == f"pool www: new generation, code from {fpm.apps} (pm.max_children)\n"
        former = set(fpm.workers("www"))
        before = boards(fpm)
        reload(fpm, changed=True)
        begun = len(found.good)
        wait_until(lambda: len(found.good) > begun + 20)
        wait_until(lambda: not former & set(fpm.workers("www")))
        served = numbers(fpm, "www")["accepted conn"]
        reload(fpm)
        fpm.configure({"www": {**settings, "pm.max_children": 40}})
        reload(fpm)
        wait_until(lambda: boards(fpm) == before, message="the former scoreboard is closed")
    assert served >= begun
    assert found.bad == []


def test_a_larger_generation_that_is_broken_leaves_the_scoreboard(daemon: Start) -> None:
    settings: Settings = {"app": "deployed:application", "pm.max_children": 2}
    fpm = daemon({"www": settings}, started=False)
    write_version(fpm, 1)
    fpm.start()
    write_version(fpm, 2, "1/0")
    fpm.configure({"www": {**settings, "pm.max_children": 400}})
    fpm.expect_log("exited on signal 9")
    wait_numbers(fpm, "www", idle_processes=2)  # the first look at the listen queue opens a socket for all time
    with fpm.no_descriptor_leak():
        assert "ZeroDivisionError" in refused(fpm)
        worker = fpm.workers("www")[0]
        os.kill(worker, 9)
        wait_until(lambda: worker not in fpm.workers("www"))
        fpm.wait_workers("www", 2)
        assert version_of(fpm, "www") == "1"
    assert wait_numbers(fpm, "www", idle_processes=2)["total processes"] == 2


def test_pools_come_and_go(daemon: Start) -> None:
    slow: Settings = {"app": "slow:application"}
    fpm = daemon({"a": {}, "old": slow})
    others, leaving = fpm.workers("a"), fpm.workers("old")
    bodies: list[bytes] = []
    with load(lambda found: bodies.append(fpm.get("old", query="1.5").body)):
        wait_numbers(fpm, "old", active_processes=1)
        fpm.configure({"a": {}, "new": {"app": "echo:application", "pm.max_children": 2}})
        assert fpm.cli("reload", "--changed", "--dry-run").stdout == (
            f"pool a: unchanged\npool new: new pool, code from {fpm.apps}\n"
            "pool old: removed, its workers finish their requests\n"
        )
        reload(fpm, changed=True)
        assert fpm.get("new").status == 200
        assert fpm.cli("status", "old").returncode == 1
        assert not (fpm.directory / "old.sock").exists()
    assert bodies == [str(leaving[0]).encode()]
    wait_until(lambda: not fpm.processes("old"))
    fpm.wait_workers("new", 2)
    assert fpm.workers("a") == others
    assert "pool: new" in " ".join(fpm.cli("status").stdout.split())


def test_a_new_pool_that_is_broken_leaves_no_trace(daemon: Start) -> None:
    fpm = daemon({"a": {}})
    others = fpm.workers("a")
    fpm.configure({"a": {}, "new": {"app": "broken_import:application"}})
    with fpm.no_descriptor_leak():
        assert "pool new: ModuleNotFoundError" in refused(fpm)
        wait_until(lambda: not fpm.processes("new"))
    assert not (fpm.directory / "new.sock").exists()
    assert fpm.workers("a") == others
    assert fpm.cli("status", "new").returncode == 1


def test_another_address(daemon: Start) -> None:
    settings: Settings = {"app": "deployed:application", "pm.max_children": 2}
    fpm = daemon({"www": settings}, started=False)
    write_version(fpm, 1)
    fpm.start()
    former = fpm.directory / "www.sock"
    moved: Settings = {**settings, "listen": fpm.directory / "moved.sock"}
    fpm.configure({"www": moved})
    assert "moves to another listening address (listen)" in fpm.cli("reload", "--dry-run").stdout
    write_version(fpm, 2, "1/0")
    assert "ZeroDivisionError" in refused(fpm)
    assert not (fpm.directory / "moved.sock").exists()
    assert get(str(former)).body.split()[0] == b"1"
    write_version(fpm, 3)
    reload(fpm)
    assert version_of(fpm, "www") == "3"
    wait_until(lambda: not former.exists())
    fpm.wait_workers("www", 2)


def test_two_pools_exchange_their_addresses(daemon: Start) -> None:
    fpm = daemon({"a": {"app": "deployed:application"}, "b": {"app": "other:application"}}, started=False)
    write_version(fpm, "first")
    write_version(fpm, "second", name="other")
    fpm.start()
    left, right = fpm.directory / "a.sock", fpm.directory / "b.sock"
    with load(single(fpm, "a"), single(fpm, "b")) as found:
        wait_until(lambda: len(found.good) > 20)
        fpm.configure(
            {"a": {"app": "deployed:application", "listen": right}, "b": {"app": "other:application", "listen": left}}
        )
        reload(fpm)
        assert version_of(fpm, "a") == "first"
        assert version_of(fpm, "b") == "second"
        assert get(str(left)).body.startswith(b"second")
        begun = len(found.good)
        wait_until(lambda: len(found.good) > begun + 20)
    assert found.bad == []
    fpm.wait_workers("a", 1)
    fpm.wait_workers("b", 1)


@pytest.mark.root
def test_owner_mode_and_backlog_are_applied_to_the_socket(daemon: Start) -> None:
    settings: Settings = {"app": "echo:application"}
    fpm = daemon({"www": settings})
    workers = fpm.workers("www")
    path = fpm.directory / "www.sock"
    before = os.lstat(path)
    changed: Settings = {**settings, "listen.owner": "nobody", "listen.mode": "0640", "listen.backlog": 17}
    assert "listening socket adjusted (listen.backlog, listen.mode, listen.owner)" in change(fpm, changed)
    after = os.lstat(path)
    assert (before.st_ino, before.st_dev) == (after.st_ino, after.st_dev)
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert after.st_uid != before.st_uid
    assert numbers(fpm, "www")["listen queue len"] == 17
    assert fpm.workers("www") == workers
    assert fpm.get("www").status == 200
