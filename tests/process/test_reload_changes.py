"""What a changed configuration does: live, in a new generation, to the listening sockets; and to nobody else."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tests.support import raw_fastcgi as raw
from tests.support.fpm import Daemon, Start
from tests.support.held import HOLD, holding
from tests.support.pools import facts, free_port, numbers, wait_numbers
from tests.support.processes import descriptors
from tests.support.raw_fastcgi import get
from tests.support.reloads import load, planned, refused, reload, reload_by_command, single, version_of, write_version
from tests.support.waiting import wait_until

Settings = dict[str, object]


def test_named_pools_only_and_changed_pools_only(daemon: Start) -> None:
    pools: dict[str, Settings] = {
        "a": {"app": "deployed:application"},
        "b": {"app": "deployed:application"},
        "c": {},
        "d": {"app": "echo:application"},
    }
    fpm = daemon(pools, started=False)
    write_version(fpm, 1)
    fpm.start()
    others = [fpm.workers("b"), fpm.workers("c")]
    write_version(fpm, 2)
    dry = fpm.cli("reload", "--dry-run", "a").stdout
    assert dry == f"pool a: new generation, code from {fpm.apps}\n" + unchanged("b", "c", "d")
    reload(fpm, "a")
    assert version_of(fpm, "a") == "2"
    assert version_of(fpm, "b") == "1"
    assert [fpm.workers("b"), fpm.workers("c")] == others
    reload(fpm, "b", "c")
    assert version_of(fpm, "b") == "2"
    wait_until(lambda: not set(others[1]) & set(fpm.workers("c")))
    assert [facts(fpm, name)["generation"] for name in pools] == [2, 2, 2, 1]

    former = fpm.wait_workers("d", 1)
    others = [fpm.wait_workers(name, 1) for name in "abc"]
    fpm.configure({**pools, "d": {**pools["d"], "env[COLOUR]": "blue"}})
    plan = unchanged("a", "b", "c") + f"pool d: new generation, code from {fpm.apps} (env)\n"
    assert planned(fpm, changed=True) == plan.splitlines()
    assert fpm.workers("d") == former
    said = reload_by_command(fpm, "--changed")
    assert said.startswith(plan)
    assert "pool d: importing" in said
    assert "1 of 1 workers swapped" in said
    assert json.loads(fpm.get("d").body)["os.environ"]["COLOUR"] == "blue"
    wait_until(lambda: not set(former) & set(fpm.workers("d")))
    assert [fpm.workers(name) for name in "abc"] == others


def unchanged(*pools: str) -> str:
    """A plan's lines about pools with which nothing happens."""
    return "".join(f"pool {pool}: unchanged\n" for pool in pools)


BASE: Settings = {
    "app": "echo:application",
    "pm": "dynamic",
    "pm.max_children": 4,
    "pm.start_servers": 2,
    "pm.min_spare_servers": 2,
    "pm.max_spare_servers": 3,
}


class Live:
    """One daemon for all that changes without a new generation; each test has a pool of its own."""

    def __init__(self, fpm: Daemon, pools: dict[str, Settings]) -> None:
        self.fpm = fpm
        self.pools = dict(pools)

    def change(self, pool: str, settings: Settings, *, global_: Settings | None = None) -> str:
        """Reload with these settings, which must neither make a template nor end a worker that need not go.

        Returns:
            What the plan says about the pool.
        """
        others = {name: self.fpm.workers(name) for name in self.pools if name != pool}
        self.pools[pool] = settings
        self.fpm.configure(self.pools, global_=global_)
        templates = self.fpm.templates(pool)
        generation = facts(self.fpm, pool)["generation"]
        (plan,) = [line for line in planned(self.fpm, changed=True) if line.startswith(f"pool {pool}: ")]
        reload(self.fpm, changed=True)
        assert self.fpm.templates(pool) == templates, "a new template"
        assert facts(self.fpm, pool)["generation"] == generation
        wait_until(lambda: {name: self.fpm.workers(name) for name in others} == others, message="other pools' workers")
        return plan


ECHO: Settings = {"app": "echo:application", "pm.max_children": 2}
SLOW: Settings = {"app": "slow:application", "pm.max_children": 1}
CONNECTIONS: Settings = {"app": "echo:application", "pm": "ondemand", "pm.process_idle_timeout": "1h"}
CLIENTS: Settings = {"app": "echo:application", "listen": "127.0.0.1:0"}
"""Its port is chosen when the daemon starts."""
LIVE: dict[str, Settings] = {
    "numbers": BASE,
    "pages": ECHO,
    "connections": CONNECTIONS,
    "log": ECHO,
    "requests": SLOW,
    "clients": CLIENTS,
    "socket": {"app": "echo:application"},
    "coded": {"app": "echo:application"},
}


@pytest.fixture(scope="module")
def live(shared_daemon: Start) -> Live:
    pools = {**LIVE, "clients": {**CLIENTS, "listen": f"127.0.0.1:{free_port()}"}}
    fpm = shared_daemon(pools)
    for pool, settings in pools.items():
        if settings.get("pm") != "ondemand":
            fpm.wait_workers(pool, int(str(settings.get("pm.start_servers", settings.get("pm.max_children", 1)))))
    return Live(fpm, pools)


def test_numbers_of_workers_change_live(live: Live) -> None:
    fpm, pool = live.fpm, "numbers"
    first = fpm.wait_workers(pool, 2)
    assert "numbers changed, applied to the running workers (pm.max_children" in live.change(
        pool,
        {**BASE, "pm.max_children": 6, "pm.start_servers": 4, "pm.min_spare_servers": 4, "pm.max_spare_servers": 5},
    )
    assert set(first) < set(fpm.wait_workers(pool, 4))
    live.change(pool, {**BASE, "pm": "static", "pm.max_children": 6})
    six = fpm.wait_workers(pool, 6)
    assert set(first) < set(six)
    assert wait_numbers(fpm, pool, idle_processes=6)["process manager"] == "static"
    live.change(pool, {**BASE, "pm": "static", "pm.max_children": 1})
    (last,) = fpm.wait_workers(pool, 1)
    assert last in six
    live.change(pool, {**BASE, "pm": "ondemand", "pm.process_idle_timeout": "1s"})
    fpm.wait_workers(pool, 0)
    assert fpm.get(pool).status == 200
    wait_until(lambda: fpm.processes(" numbers") == [], message="workers and template leave when they are idle")
    live.change(pool, {**BASE, "pm": "ondemand", "pm.process_idle_timeout": "600s"})
    assert fpm.get(pool).status == 200
    assert len(fpm.workers(pool)) == 1
    live.change(pool, {**BASE, "pm": "static", "pm.max_children": 2})
    fpm.wait_workers(pool, 2)


def test_numbers_down_under_load(daemon: Start) -> None:
    settings: Settings = {"app": "deployed:application", "pm.max_children": 5}
    fpm = daemon({"www": settings}, started=False)
    write_version(fpm, 1)
    running = Live(fpm.start(), {"www": settings})
    with load(single(fpm, "www"), single(fpm, "www", "0.05"), single(fpm, "www", "0.01")) as found:
        for count in (1, 4, 2):
            running.change("www", {**settings, "pm.max_children": count})
            fpm.wait_workers("www", count)
        begun = len(found.good)
        wait_until(lambda: len(found.good) > begun + 20)
    assert found.bad == []


def test_what_workers_know_changes_live(live: Live) -> None:
    fpm, pool, settings = live.fpm, "pages", ECHO
    workers = fpm.wait_workers(pool, 2)
    pages = {"pm.status_path": "/status", "ping.path": "/ping", "ping.response": "here"}
    assert json.loads(fpm.get(pool, "/ping").body)["length"] == 0
    live.change(pool, {**settings, **pages})
    wait_until(lambda: {fpm.get(pool, "/ping").body for _ in range(8)} == {b"here"})
    wait_until(lambda: all(b"accepted conn" in fpm.get(pool, "/status").body for _ in range(8)))
    live.change(pool, {**settings, **pages, "ping.response": "moved", "ping.path": "/pong"})
    wait_until(lambda: {fpm.get(pool, "/pong").body for _ in range(8)} == {b"moved"})
    wait_until(lambda: all(fpm.get(pool, "/ping").body.startswith(b"{") for _ in range(8)))
    live.change(pool, settings)
    wait_until(lambda: all(fpm.get(pool, "/pong").body.startswith(b"{") for _ in range(8)))
    assert fpm.workers(pool) == workers


def test_a_running_worker_tells_the_new_number_of_connections(live: Live) -> None:
    fpm, pool = live.fpm, "connections"
    assert fpm.get(pool).status == 200
    (worker,) = fpm.workers(pool)
    live.change(pool, {**CONNECTIONS, "pm.max_children": 7})
    asked = raw.pairs({"FCGI_MAX_CONNS": "", "FCGI_MAX_REQS": ""})

    def told() -> dict[str, str]:
        with raw.Wire(fpm.address(pool)) as wire:
            wire.send(raw.record(raw.GET_VALUES, asked, request=0))
            record = wire.read_record()
            assert record is not None
            return dict(raw.unpairs(record[2]))

    wait_until(lambda: told() == {"FCGI_MAX_CONNS": "7", "FCGI_MAX_REQS": "7"})
    assert fpm.workers(pool) == [worker]


def test_access_log_changes_with_the_code(live: Live) -> None:
    fpm, pool = live.fpm, "coded"
    first, second = fpm.directory / "first-coded.log", fpm.directory / "second-coded.log"
    for number, file in enumerate((first, second, second)):
        env = {"env[NUMBER]": str(number)}  # another environment is another generation
        (worker,) = fpm.workers(pool)
        live.pools[pool] = {**LIVE[pool], **env, "access.format": "%m %r", "access.log": file}
        fpm.configure(live.pools)
        reload(fpm, changed=True)
        wait_until(lambda worker=worker: worker not in fpm.workers(pool))
        assert fpm.get(pool, f"/number{number}").status == 200
        line = f"GET /number{number}\n"
        wait_until(lambda file=file, line=line: file.exists() and line in file.read_text())
    assert "number1" not in first.read_text()
    fpm.expect_descriptors(file=1)


def test_access_log_changes_live(live: Live) -> None:
    fpm, pool, settings = live.fpm, "log", ECHO
    workers = fpm.wait_workers(pool, 2)
    first, second = fpm.directory / "first.log", fpm.directory / "second.log"

    def asked(path: str) -> str:
        for _ in range(6):
            assert fpm.get(pool, path).status == 200
        return path

    def lines(file: Path, path: str) -> list[str]:
        return [line for line in file.read_text().splitlines() if path in line] if file.exists() else []

    asked("/before")
    live.change(pool, {**settings, "access.log": first, "access.format": "%m %r"})
    wait_until(lambda: len(lines(first, asked("/one"))) >= 6)
    assert lines(first, "/before") == []
    assert set(lines(first, "/one")) == {"GET /one"}
    live.change(pool, {**settings, "access.log": first, "access.format": "%s %r"})
    wait_until(lambda: lines(first, asked("/two"))[-1:] == ["200 /two"])
    suppress = {"access.suppress_path[]": "/three"}
    live.change(pool, {**settings, "access.log": second, "access.format": "%s %r", **suppress})
    asked("/three")
    wait_until(lambda: asked("/four") and lines(second, "/four"))
    assert lines(second, "/three") == []
    assert lines(first, "/four") == []
    with fpm.no_descriptor_leak():
        live.change(pool, settings)
        asked("/five")
        asked("/six")
        assert lines(second, "/five") == []
    fpm.configure({**live.pools, pool: {**settings, "access.log": fpm.directory}})
    assert "access.log: " in refused(fpm, status=78)
    assert fpm.get(pool).status == 200
    assert fpm.workers(pool) == workers


def test_max_requests_changes_live(live: Live) -> None:
    fpm, pool, settings = live.fpm, "requests", SLOW
    (former,) = fpm.workers(pool)
    live.change(pool, {**settings, "pm.max_requests": 3, "pm.max_requests_jitter": 0})
    pids = [fpm.get(pool, query="0").body for _ in range(8)]
    assert pids.count(str(former).encode()) <= 4
    assert len(set(pids)) > 1
    live.change(pool, settings)
    fpm.wait_workers(pool, 1)
    wait_until(lambda: len({fpm.get(pool, query="0").body for _ in range(8)}) == 1)
    fpm.wait_workers(pool, 1)


def test_allowed_clients_change_live(live: Live) -> None:
    fpm, pool, settings = live.fpm, "clients", live.pools["clients"]
    workers = fpm.workers(pool)
    assert fpm.get(pool).status == 200
    live.change(pool, {**settings, "listen.allowed_clients": "127.0.0.2"})
    fpm.expect_log("Connection disallowed: IP address '127.0.0.1' has been dropped")

    def disallowed() -> bool:
        try:
            return not get(fpm.address(pool)).ended
        except ConnectionResetError:
            return True

    wait_until(disallowed)
    live.change(pool, {**settings, "listen.allowed_clients": "127.0.0.1"})
    wait_until(lambda: not disallowed())
    assert fpm.workers(pool) == workers


@pytest.mark.root
def test_owner_mode_and_backlog_are_applied_to_the_socket(live: Live) -> None:
    fpm, pool = live.fpm, "socket"
    settings = LIVE[pool]
    workers = fpm.workers(pool)
    path = fpm.directory / "socket.sock"
    before = os.lstat(path)
    changed: Settings = {**settings, "listen.owner": "nobody", "listen.mode": "0640", "listen.backlog": 17}
    assert "listening socket adjusted (listen.backlog, listen.mode, listen.owner)" in live.change(pool, changed)
    after = os.lstat(path)
    assert (before.st_ino, before.st_dev) == (after.st_ino, after.st_dev)
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert after.st_uid != before.st_uid
    wait_numbers(fpm, pool, listen_queue_len=17)
    assert fpm.workers(pool) == workers
    assert fpm.get(pool).status == 200


def test_global_values_change_live(daemon: Start) -> None:
    settings: Settings = {"app": "slow:application"}
    fpm = daemon({"www": settings}, global_={"process_control_timeout": "600s"})
    pid_file = fpm.directory / "other.pid"
    values: Settings = {"process_control_timeout": "1s", "log_level": "debug", "pid": pid_file}
    Live(fpm, {"www": settings}).change("www", settings, global_=values)
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
        plan = planned(fpm, changed=True)
        assert plan == [f"pool www: new generation, code from {fpm.apps} (pm.max_children)"]
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
    with holding(fpm, HOLD, pool="old") as (request,):
        fpm.configure({"a": {}, "new": {"app": "echo:application", "pm.max_children": 2}})
        assert planned(fpm, changed=True) == [
            "pool a: unchanged",
            f"pool new: new pool, code from {fpm.apps}",
            "pool old: removed, its workers finish their requests",
        ]
        reload(fpm, changed=True)
        assert fpm.get("new").status == 200
        assert not fpm.ask("status", pool="old")["ok"]
        assert not (fpm.directory / "old.sock").exists()
    assert request.result().body == str(leaving[0]).encode()
    wait_until(lambda: not fpm.processes("old"))
    fpm.wait_workers("new", 2)
    assert fpm.workers("a") == others
    assert fpm.figures("new")["pool"] == "new"

    fpm.configure({"a": {}, "broken": {"app": "broken_import:application"}})
    with fpm.no_descriptor_leak():
        assert "pool broken: ModuleNotFoundError" in refused(fpm, changed=True)
        wait_until(lambda: not fpm.processes("broken"))
    assert not (fpm.directory / "broken.sock").exists()
    assert fpm.workers("a") == others
    assert fpm.get("new").status == 200, "it has not left, either"
    assert not fpm.ask("status", pool="broken")["ok"]


def test_another_address(daemon: Start) -> None:
    settings: Settings = {"app": "deployed:application", "pm.max_children": 2}
    fpm = daemon({"www": settings}, started=False)
    write_version(fpm, 1)
    fpm.start()
    former = fpm.directory / "www.sock"
    moved: Settings = {**settings, "listen": fpm.directory / "moved.sock"}
    fpm.configure({"www": moved})
    assert "moves to another listening address (listen)" in planned(fpm)[0]
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
