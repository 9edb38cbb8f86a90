"""A thousand ondemand pools on one machine cost a socket and an object each."""

from __future__ import annotations

import psutil

from tests.support.fpm import Start
from tests.support.looking import fetch, read_metrics
from tests.support.pools import free_port
from tests.support.processes import cpu_seconds, quiet
from tests.support.waiting import wait_until

COUNT = 1000
MEBIBYTE = 1 << 20
SCRAPE_TIME = 0.1
"""CPU seconds of the master for a scrape of a thousand pools; half of it on an idle machine."""


def test_a_thousand_idle_pools(daemon: Start) -> None:
    pool = {"pm": "ondemand", "pm.max_children": 5, "pm.process_idle_timeout": "1s"}
    fpm = daemon({f"site{number}": pool for number in range(COUNT)}, global_={"systemd_interval": 0})
    master = psutil.Process(fpm.pid)
    assert master.children(recursive=True) == []
    assert master.memory_full_info().pss < 60 * MEBIBYTE
    quiet([fpm.pid], seconds=1.5)
    for number in (0, 499, 999):
        assert fpm.get(f"site{number}").status == 200
    wait_until(lambda: master.children(recursive=True) == [])
    assert master.memory_full_info().pss < 60 * MEBIBYTE


def test_a_scrape_each_second_of_a_thousand_pools(daemon: Start) -> None:
    port = free_port()
    pools = {f"site{number}": {"pm": "ondemand", "pm.max_children": 5} for number in range(COUNT)}
    fpm = daemon(pools, global_={"status_listen": f"127.0.0.1:{port}", "systemd_interval": 0})
    assert fpm.get("site7").status == 200
    metrics = read_metrics(fetch(port, "/metrics").body)
    assert metrics["pyfpm_requests_total", "site7"] == 1
    assert len({pool for _, pool, *_ in (key for key in metrics if len(key) > 1)}) >= COUNT
    before, scrapes = cpu_seconds(fpm.pid), []
    wait_until(lambda: scrapes.append(fetch(port, "/metrics").status) or len(scrapes) == 6, every=1.0)
    assert scrapes == [200] * 6
    assert (cpu_seconds(fpm.pid) - before) / 6 < SCRAPE_TIME
    # Somebody who asks all the time gets the same snapshot for a while.
    before = cpu_seconds(fpm.pid)
    answers = [fetch(port, "/readyz").status for _ in range(100)]
    assert answers == [200] * 100
    assert (cpu_seconds(fpm.pid) - before) / 100 < SCRAPE_TIME / 2
