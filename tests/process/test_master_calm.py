"""What the master costs when nothing happens, and what is left of what has happened."""

from __future__ import annotations

import pytest

from tests.support.fpm import Daemon, Settings, Start
from tests.support.processes import no_zombies, quiet
from tests.support.reloads import reload
from tests.support.waiting import wait_until

POOLS: dict[str, Settings] = {
    "static": {"pm.max_children": 3},
    "dynamic": {
        "pm": "dynamic",
        "pm.max_children": 5,
        "pm.start_servers": 2,
        "pm.min_spare_servers": 1,
        "pm.max_spare_servers": 3,
    },
    "ondemand": {"pm": "ondemand", "pm.max_children": 5, "pm.process_idle_timeout": "200ms"},
    "many": {"pm.max_children": 25},
    "killed": {"app": "trouble:application", "pm.max_children": 2},
    "limited": {"app": "slow:application", "pm.max_children": 2, "pm.max_requests": 1},
}


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    """A daemon that wakes up for nothing but its pools, one for each test."""
    return shared_daemon(POOLS, global_={"systemd_interval": 0})


def test_an_idle_daemon_does_not_wake_up(fpm: Daemon) -> None:
    for pool in ("static", "dynamic", "ondemand"):
        assert fpm.get(pool).status == 200
    wait_until(lambda: not fpm.processes("ondemand"))
    # By their titles: one that has ended has none, and is there until it has been waited for.
    quiet([fpm.pid, *(one.pid for one in fpm.processes("pyfpm: "))], seconds=4.0, switches_allowed=0)
    assert fpm.get("ondemand").status == 200


def test_a_hundred_workers_come_and_go(fpm: Daemon) -> None:
    seen = set(fpm.workers("many"))
    with fpm.no_descriptor_leak():
        while len(seen) < 100:
            reload(fpm, "many")
            fpm.wait_workers("many", 25)
            seen |= set(fpm.workers("many"))
    no_zombies(fpm.pid)


def test_killed_workers_leave_nothing_behind(fpm: Daemon) -> None:
    fpm.expect_log("exited on signal 9")
    with fpm.no_descriptor_leak():
        for _ in range(6):
            before = set(fpm.workers("killed"))
            assert not fpm.get("killed", "/kill").ended
            wait_until(lambda before=before: set(fpm.workers("killed")) - before)
        fpm.wait_workers("killed", 2)
    no_zombies(fpm.pid)


def test_workers_at_their_limit_come_and_go(fpm: Daemon) -> None:
    with fpm.no_descriptor_leak():
        pids = {fpm.get("limited", query="0").body for _ in range(60)}
        fpm.wait_workers("limited", 2)
    assert len(pids) >= 30
    no_zombies(fpm.pid)


def test_an_ondemand_pool_comes_and_goes(fpm: Daemon) -> None:
    assert fpm.get("ondemand").status == 200
    wait_until(lambda: not fpm.processes("ondemand"))
    with fpm.no_descriptor_leak():
        for _ in range(4):
            assert fpm.get("ondemand").status == 200
            wait_until(lambda: not fpm.processes("ondemand"))
