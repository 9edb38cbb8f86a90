"""In a pid namespace a pool has pids of its own; whoever looks from outside is told those of the machine."""

from __future__ import annotations

import re

import pytest

from tests.support.fpm import Start
from tests.support.pools import numbers
from tests.support.reloads import upgrade
from tests.support.waiting import wait_until


@pytest.mark.root
def test_status_and_access_log_have_the_machines_pids(daemon: Start) -> None:
    pools = {
        preload: {"namespaces": "pid", "preload": preload, "access.log": f"{preload}.log", "access.format": "%p %r"}
        for preload in ("auto", "no")
    }
    fpm = daemon(pools)
    workers = {pool: fpm.workers(pool) for pool in pools}
    for pool, (worker,) in workers.items():
        wait_until(lambda pool=pool: [one["pid"] for one in numbers(fpm, pool)["processes"]] == workers[pool])
        assert fpm.get(pool).status == 200
        log = fpm.directory / f"{pool}.log"
        wait_until(lambda log=log, pid=worker: re.search(rf"^{pid} /", log.read_text(), re.MULTILINE) is not None)
    upgrade(fpm)
    for pool, (worker,) in workers.items():
        assert [one["pid"] for one in numbers(fpm, pool)["processes"]] == [worker]
        assert f"[pool {pool}] child {worker} started" in fpm.log()
