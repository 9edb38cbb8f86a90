"""What the master costs when nothing happens, and what is left of what has happened."""

from __future__ import annotations

from tests.support.fpm import Start
from tests.support.processes import no_zombies, quiet
from tests.support.reloads import reload
from tests.support.waiting import wait_until


def test_an_idle_daemon_does_not_wake_up(daemon: Start) -> None:
    pools = {
        "static": {"pm.max_children": 3},
        "dynamic": {
            "pm": "dynamic",
            "pm.max_children": 5,
            "pm.start_servers": 2,
            "pm.min_spare_servers": 1,
            "pm.max_spare_servers": 3,
        },
        "ondemand": {"pm": "ondemand", "pm.max_children": 5, "pm.process_idle_timeout": "1s"},
    }
    fpm = daemon(pools, global_={"systemd_interval": 0})
    for pool in pools:
        assert fpm.get(pool).status == 200
    wait_until(lambda: not fpm.workers("ondemand"))
    pids = [fpm.pid, *fpm.workers("static"), *fpm.workers("dynamic"), fpm.processes("template static")[0].pid]
    quiet(pids, seconds=4.0)
    assert fpm.get("ondemand").status == 200


def test_a_hundred_workers_come_and_go(daemon: Start) -> None:
    fpm = daemon({"www": {"pm.max_children": 25}})
    seen = set(fpm.workers("www"))
    with fpm.no_descriptor_leak():
        while len(seen) < 100:
            reload(fpm)
            fpm.wait_workers("www", 25)
            seen |= set(fpm.workers("www"))
    no_zombies(fpm.pid)


def test_killed_workers_leave_nothing_behind(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "trouble:application", "pm.max_children": 2}})
    fpm.expect_log("exited on signal 9")
    with fpm.no_descriptor_leak():
        for _ in range(6):
            before = set(fpm.workers("www"))
            assert not fpm.get("www", "/kill").ended
            wait_until(lambda before=before: set(fpm.workers("www")) - before)
        fpm.wait_workers("www", 2)
    no_zombies(fpm.pid)


def test_workers_at_their_limit_come_and_go(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "slow:application", "pm.max_children": 2, "pm.max_requests": 1}})
    with fpm.no_descriptor_leak():
        pids = {fpm.get("www", query="0").body for _ in range(60)}
        fpm.wait_workers("www", 2)
    assert len(pids) >= 30
    no_zombies(fpm.pid)


def test_an_ondemand_pool_comes_and_goes(daemon: Start) -> None:
    fpm = daemon({"www": {"pm": "ondemand", "pm.process_idle_timeout": "200ms"}})
    assert fpm.get("www").status == 200
    wait_until(lambda: not fpm.processes("www"))
    with fpm.no_descriptor_leak():
        for _ in range(4):
            assert fpm.get("www").status == 200
            wait_until(lambda: not fpm.processes("www"))
