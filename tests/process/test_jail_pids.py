"""In a pid namespace a pool has pids of its own; whoever looks from outside is told those of the machine."""

from __future__ import annotations

import re

import pytest

from tests.support.fpm import Start
from tests.support.pools import numbers
from tests.support.waiting import wait_until


@pytest.mark.root
@pytest.mark.parametrize("preload", ["auto", "no"])
def test_status_and_access_log_have_the_machines_pids(daemon: Start, preload: str) -> None:
    pool = {"namespaces": "pid", "preload": preload, "access.log": "access.log"}
    fpm = daemon({"www": {**pool, "access.format": "%p %r"}})
    (worker,) = fpm.workers("www")
    wait_until(lambda: [one["pid"] for one in numbers(fpm, "www")["processes"]] == [worker])
    assert fpm.get("www").status == 200
    log = fpm.directory / "access.log"
    wait_until(lambda: re.search(rf"^{worker} /", log.read_text(), re.MULTILINE) is not None)
    assert fpm.cli("upgrade").returncode == 0
    assert [one["pid"] for one in numbers(fpm, "www")["processes"]] == [worker]
    assert f"[pool www] child {worker} started" in fpm.log()
