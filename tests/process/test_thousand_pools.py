"""A thousand ondemand pools on one machine cost a socket and an object each."""

from __future__ import annotations

import time
from typing import NamedTuple

import psutil
import pytest

from tests.support.fpm import Daemon, Start
from tests.support.looking import fetch, read_metrics
from tests.support.pools import free_port
from tests.support.processes import cpu_seconds, quiet
from tests.support.waiting import wait_until

COUNT = 1000
MEBIBYTE = 1 << 20
SCRAPES = 3


class Thousand(NamedTuple):
    """A daemon with so many pools, where its status is, and the CPU time that its master took to start."""

    fpm: Daemon
    port: int
    start: float


@pytest.fixture(scope="module")
def thousand(shared_daemon: Start) -> Thousand:
    port = free_port()
    settings = {"status_listen": f"127.0.0.1:{port}", "status_history": "no", "systemd_interval": 0}
    pool = {"pm": "ondemand", "pm.max_children": 5, "pm.process_idle_timeout": "1s"}
    fpm = shared_daemon({f"site{number}": pool for number in range(COUNT)}, global_=settings, started=False)
    fpm.start(whole=True)
    return Thousand(fpm, port, cpu_seconds(fpm.pid))


def test_a_thousand_idle_pools(thousand: Thousand) -> None:
    fpm = thousand.fpm
    master = psutil.Process(fpm.pid)
    assert fpm.processes(" site") == []
    assert master.memory_full_info().pss < 60 * MEBIBYTE
    quiet([fpm.pid], seconds=1.5)
    for number in (0, 499, 999):
        assert fpm.get(f"site{number}").status == 200
    wait_until(lambda: fpm.processes(" site") == [])
    assert master.memory_full_info().pss < 60 * MEBIBYTE


def test_a_scrape_each_second_of_a_thousand_pools(thousand: Thousand) -> None:
    fpm, port, start = thousand
    assert fpm.get("site7").status == 200
    metrics = read_metrics(fetch(port, "/metrics").body)
    assert metrics["pyfpm_requests_total", "site7"] == 1
    assert len({pool for _, pool, *_ in (key for key in metrics if len(key) > 1)}) >= COUNT
    before, scrapes = cpu_seconds(fpm.pid), []
    wait_until(lambda: scrapes.append(fetch(port, "/metrics").status) or len(scrapes) == SCRAPES, every=1.0)
    assert scrapes == [200] * SCRAPES
    scraping = cpu_seconds(fpm.pid) - before
    assert scraping / SCRAPES < start / 6, "six looks at all pools cost less than to read and to start them once"
    # Whoever asks all the time does not keep the master busy: everybody gets the same snapshot for a while.
    before, begin, answers = cpu_seconds(fpm.pid), time.monotonic(), set()
    while (elapsed := time.monotonic() - begin) < 20 * scraping / SCRAPES:
        answers.add(fetch(port, "/readyz").status)
    assert answers == {200}
    assert (cpu_seconds(fpm.pid) - before) / elapsed < 0.25
