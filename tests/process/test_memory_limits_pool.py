"""Memory limits of a pool as a whole, soft and hard."""

from __future__ import annotations

import os
from collections.abc import Sequence

import psutil

from tests.support.fpm import IS_ROOT, Start
from tests.support.growing import POOL, grow, start_growing
from tests.support.held import holding
from tests.support.looking import fetch, read_metrics
from tests.support.pools import free_port, numbers
from tests.support.reloads import reload
from tests.support.waiting import hold_for, side_by_side, wait_until

DYNAMIC = {
    "pm": "dynamic",
    "pm.max_children": 4,
    "pm.start_servers": 3,
    "pm.min_spare_servers": 1,
    "pm.max_spare_servers": 3,
    "pm.process_idle_timeout": "1h",
}
WITHOUT_PSS = ("/usr/bin/setpriv", "--bounding-set=-sys_ptrace,-perfmon,-sys_admin")


def test_a_pool_above_its_soft_limit_gives_its_spare_workers_up(daemon: Start) -> None:
    fpm = start_growing(daemon, {**DYNAMIC, "pm.memory_soft": "300M"})
    assert numbers(fpm, "www")["memory limit"] == "kept"
    with holding(fpm, "/hold?310"):
        fpm.wait_log(
            r"WARNING: \[pool www\] uses \S+ MiB of memory, more than pm.memory_soft \(300 MiB\): it keeps one spare"
        )
        wait_until(lambda: numbers(fpm, "www")["idle processes"] == 1)
        assert numbers(fpm, "www")["memory limit"] == "above pm.memory_soft"
        # The request that is in hand is nobody's loss, and others are served.
        (busy,) = {one["pid"] for one in numbers(fpm, "www")["processes"] if one["state"] == "Running"}
        assert grow(fpm) != busy
        hold_for(lambda: busy in fpm.workers("www"), 2.0)
    os.kill(busy, 9)
    fpm.expect_log(rf"child {busy} exited")
    fpm.wait_log(r"NOTICE: \[pool www\] uses \S+ MiB of memory, less than pm.memory_soft \(300 MiB\) again")
    assert fpm.log().count("more than pm.memory_soft") == 1
    assert numbers(fpm, "www")["memory limit"] == "kept"


def test_a_pool_above_its_hard_limit_shrinks_and_serves_on(daemon: Start) -> None:
    settings = {"pm.max_children": 3, "process_control_timeout": "200ms"}
    fpm = start_growing(daemon, {"pm.max_children": 3, "pm.memory_soft": "200M", "pm.memory_hard": "400M"},
                process_control_timeout=settings["process_control_timeout"])  # fmt: skip
    fpm.expect_log("more than pm.memory_soft")  # if somebody looks before the third has grown
    with holding(fpm, "/hold?320", "/hold?60", "/hold?20") as held:  # only the largest one can be it at any time
        sizes = {int(one["request uri"].split("?")[1]): one["pid"] for one in numbers(fpm, "www")["processes"]}
        fpm.wait_log(r"WARNING: \[pool www\] uses \S+ MiB of memory, more than pm.memory_hard \(400 MiB\)")
        # Without the largest it is below: one leaves, the others do not. Nothing is cut off.
        fpm.wait_log(
            rf"NOTICE: \[pool www\] child {sizes[320]}, which uses \S+ MiB of memory, leaves after request "
            r'"GET /hold\?320" \(pm.memory_hard\)'
        )
        hold_for(lambda: len(fpm.workers("www")) == 3, 3.0)
        assert fpm.log().count("(pm.memory_hard)") == 1
        assert numbers(fpm, "www")["memory limit"] == "above pm.memory_hard"
    assert [int(one.result().body) for one in held] == [sizes[320], sizes[60], sizes[20]]
    fpm.wait_log(rf"child {sizes[320]} exited with code 0 after")
    fpm.wait_log(r"uses \S+ MiB of memory, less than pm.memory_hard \(400 MiB\) again")
    assert grow(fpm) in (sizes[60], sizes[20])
    assert numbers(fpm, "www")["deaths"] == []
    # Without limits the pool is as large as it was.
    fpm.configure({"www": {**POOL, "pm.max_children": 3}})
    reload(fpm, changed=True)
    fpm.wait_workers("www", 3)
    assert "memory limit" not in numbers(fpm, "www")


def test_shared_memory_counts_once(daemon: Start) -> None:
    side_by_side(lambda: shared_counts_once(daemon, ()), lambda: IS_ROOT and shared_counts_once(daemon, WITHOUT_PSS))


def shared_counts_once(daemon: Start, wrapper: Sequence[str]) -> None:
    settings = {"pm.max_children": 4, "preload": "yes", "env[AT_START]": "100", "process.dumpable": "no"}
    pool = {**POOL, **settings, "pm.memory_soft": "300M", "pm.memory_hard": "400M"}
    fpm = daemon({"www": pool}, started=False).start(wrapper=wrapper)
    pids = fpm.wait_workers("www", 4)
    assert sum(psutil.Process(pid).memory_info().rss for pid in pids) > 400 << 20
    hold_for(lambda: fpm.workers("www") == pids, 9.0, message="what is shared was counted more than once")
    figures = numbers(fpm, "www")
    assert figures["memory limit"] == "kept"
    assert ("memory pss" in figures) is not bool(wrapper)
    with holding(fpm, "/hold?250"):
        fpm.wait_log(r"uses \S+ MiB of memory, more than pm.memory_soft")


def test_the_level_is_in_the_metrics(daemon: Start) -> None:
    where = free_port()
    fpm = start_growing(daemon, {"pm.memory_soft": "1G"}, status_listen=f"127.0.0.1:{where}")
    grow(fpm)
    metrics = read_metrics(fetch(where, "/metrics").body)
    assert metrics["pyfpm_memory_limit_exceeded", "www"] == 0
    assert metrics["pyfpm_deaths_total", "www", "memory"] == 0
