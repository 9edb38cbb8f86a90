"""A thousand ondemand pools on one machine cost a socket and an object each."""

from __future__ import annotations

import time

import psutil

from tests.support.fpm import Start
from tests.support.looking import fetch, read_metrics
from tests.support.pools import free_port
from tests.support.waiting import wait_until

COUNT = 1000
MEBIBYTE = 1 << 20
SCRAPE_SHARE = 0.05
"""Of a core, for the master, with a scrape of a thousand pools each second."""


def test_a_thousand_idle_pools(daemon: Start) -> None:
    pool = {"pm": "ondemand", "pm.max_children": 5, "pm.process_idle_timeout": "1s"}
    began = time.monotonic()
    fpm = daemon({f"site{number}": pool for number in range(COUNT)}, global_={"systemd_interval": 0})
    # The goal is 5 s; here other tests run beside it.
    assert time.monotonic() - began < 10.0
    master = psutil.Process(fpm.pid)
    assert master.children(recursive=True) == []
    assert master.memory_full_info().pss < 60 * MEBIBYTE
    before = (master.cpu_times(), master.num_ctx_switches())
    asleep_since = time.monotonic()
    wait_until(lambda: time.monotonic() - asleep_since > 1.5)
    after = (master.cpu_times(), master.num_ctx_switches())
    assert after[0].user + after[0].system - before[0].user - before[0].system <= 0.01
    assert after[1].voluntary - before[1].voluntary <= 1
    for number in (0, 499, 999):
        assert fpm.get(f"site{number}").status == 200
    wait_until(lambda: master.children(recursive=True) == [], timeout=8.0)
    assert master.memory_full_info().pss < 60 * MEBIBYTE


def test_a_scrape_each_second_of_a_thousand_pools(daemon: Start) -> None:
    port = free_port()
    pools = {f"site{number}": {"pm": "ondemand", "pm.max_children": 5} for number in range(COUNT)}
    fpm = daemon(pools, global_={"status_listen": f"127.0.0.1:{port}", "systemd_interval": 0})
    assert fpm.get("site7").status == 200
    metrics = read_metrics(fetch(port, "/metrics").body)
    assert metrics["pyfpm_requests_total", "site7"] == 1
    assert len({pool for _, pool, *_ in (key for key in metrics if len(key) > 1)}) >= COUNT
    master = psutil.Process(fpm.pid)
    before, begin, scrapes = master.cpu_times(), time.monotonic(), 6
    for number in range(scrapes):
        assert fetch(port, "/metrics").status == 200
        wait_until(lambda number=number: time.monotonic() - begin > number + 1)
    after, passed = master.cpu_times(), time.monotonic() - begin
    share = (after.user + after.system - before.user - before.system) / passed
    assert share < SCRAPE_SHARE
    # Somebody who asks all the time gets the same snapshot for a while.
    before, begin, answers = master.cpu_times(), time.monotonic(), 0
    while time.monotonic() - begin < 3:
        assert fetch(port, "/readyz").status == 200
        answers += 1
    after, passed = master.cpu_times(), time.monotonic() - begin
    assert answers > 10
    assert (after.user + after.system - before.user - before.system) / passed < 2 * SCRAPE_SHARE
