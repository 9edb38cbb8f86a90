"""Memory limits that the master looks after: of one worker, soft and hard, and of a pool as a whole."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from tests.support.fpm import Daemon, Start
from tests.support.held import holding, release
from tests.support.looking import fetch, read_metrics
from tests.support.pools import free_port, numbers, write_app
from tests.support.processes import quiet
from tests.support.reloads import reload
from tests.support.waiting import hold_for, wait_until

GROWING = """
import mmap
import os
import threading
import time

KEPT = [bytearray(os.urandom(1)) * (int(os.environ.get("AT_START", 0)) << 20)]

def grow(size):
    KEPT.append(bytearray(b"x") * (int(size) << 20))

def hold_on():
    for _ in range(6000):
        if not os.path.exists(os.path.join(os.path.dirname(__file__), "hold")):
            return
        time.sleep(0.01)

def seem_idle():
    from fpm.scoreboard.layout import stages_offset
    from fpm.scoreboard.stages import Stage
    for name in os.listdir("/proc/self/fd"):
        if os.path.exists(f"/proc/self/fd/{name}") and "scoreboard" in os.readlink(f"/proc/self/fd/{name}"):
            with mmap.mmap(int(name), 0) as board:
                board[stages_offset()] = Stage.ACCEPTING

def application(environ, start_response):
    path, size = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/later":
        threading.Timer(0.2, grow, [size]).start()
    elif size:
        grow(size)
    if path == "/lie":
        seem_idle()
    if path in ("/hold", "/lie"):
        hold_on()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
"""It keeps as many MiB as the query says; it may do so after its response, go on as long as a file exists, and lie."""
POOL: dict[str, Any] = {"app": "growing:application", "pm": "static", "pm.max_children": 1, "slowlog": "slow.log"}


def start(daemon: Start, settings: dict[str, Any], **global_: str) -> Daemon:
    fpm = daemon({"www": {**POOL, **settings}}, global_=global_, started=False)
    write_app(fpm, "growing", GROWING)
    fpm.expect_log("seems to be less than the application needs")
    fpm.start()
    return fpm


def ask(fpm: Daemon, path: str = "/", size: str = "") -> int:
    return int(fpm.get("www", path, query=size).body)


# -------------------------------------------------------------------------------------------------- one worker


@pytest.mark.parametrize("preload", ["yes", "no"])
def test_a_busy_worker_above_the_soft_limit_is_replaced_and_not_cut_off(daemon: Start, preload: str) -> None:
    fpm = start(daemon, {"pm.max_memory": "100M", "preload": preload}, process_control_timeout="200ms")
    with holding(fpm, "/hold?120") as (held,):
        gone = fpm.wait_log(
            r"NOTICE: \[pool www\] child (\d+) has used \S+ MiB of memory, more than pm.max_memory \(100 MiB\); "
            r'it is replaced after request "GET /hold\?120"'
        )
        pid = int(gone[1])
        successor = ask(fpm)
        assert successor != pid
        # Far longer than a worker has to leave otherwise.
        hold_for(lambda: pid in fpm.workers("www"), 3.0)
        assert not held.done()
        release(fpm)
        assert int(held.result().body) == pid
    fpm.wait_log(rf"child {pid} exited with code 0 after")
    assert fpm.wait_workers("www", 1) == [successor]
    figures = numbers(fpm, "www")
    assert (figures["recycled memory"], figures["deaths"]) == (1, [])
    assert not (fpm.directory / "slow.log").read_text()


def test_a_request_that_may_take_its_time_may_do_so_after_an_upgrade(daemon: Start) -> None:
    fpm = start(daemon, {"pm.max_memory": "100M"}, process_control_timeout="200ms")
    with holding(fpm, "/hold?120") as (held,):
        (pid,) = fpm.workers("www")
        fpm.wait_log(r"it is replaced after request")
        fpm.wait_workers("www", 2)
        done = fpm.cli("upgrade")
        assert done.returncode == 0, done.stderr
        hold_for(lambda: pid in fpm.workers("www"), 3.0)
    assert int(held.result().body) == pid
    fpm.wait_workers("www", 1)


def test_a_reload_gives_such_a_request_as_much_time_as_the_others(daemon: Start) -> None:
    fpm = start(daemon, {"pm.max_memory": "100M"}, process_control_timeout="200ms")
    with holding(fpm, "/hold?120") as (held,):
        (pid,) = fpm.workers("www")
        fpm.wait_log(r"it is replaced after request")
        fpm.wait_workers("www", 2)
        fpm.expect_log(rf"child {pid}")
        reload(fpm)
        wait_until(lambda: pid not in fpm.workers("www"))
        assert held.result().stdout == b""


def test_without_workers_nobody_looks(daemon: Start) -> None:
    limits = {"pm.max_memory": "1G", "pm.max_memory_hard": "2G", "pm.memory_soft": "3G", "pm.memory_hard": "4G"}
    ondemand = {"pm": "ondemand", "pm.process_idle_timeout": "1s", "pm.max_children": 2}
    fpm = start(daemon, {**ondemand, **limits}, systemd_interval="0")
    for _ in range(2):
        ask(fpm)
        fpm.wait_workers("www", 0)
        quiet([fpm.pid], seconds=7.0)


def test_an_idle_worker_that_grows_is_seen_without_a_request(daemon: Start) -> None:
    fpm = start(daemon, {"pm.max_memory": "100M"})
    pid = ask(fpm, "/later", "120")
    fpm.wait_log(rf"child {pid} has used \S+ MiB of memory, more than pm.max_memory")
    fpm.wait_log(rf"child {pid} exited with code 0 after")
    assert ask(fpm) != pid
    assert numbers(fpm, "www")["recycled memory"] == 1


def test_a_worker_that_is_large_from_the_start_stays(daemon: Start) -> None:
    fpm = start(daemon, {"pm.max_memory": "100M", "env[AT_START]": "120"})
    fpm.wait_log(r"uses \S+ MiB of memory right after its start, more than pm.max_memory")
    pid = ask(fpm)
    hold_for(lambda: fpm.workers("www") == [pid], 7.0, message="it has been replaced")


def test_a_busy_worker_above_the_hard_limit_is_killed_with_its_stack(daemon: Start) -> None:
    fpm = start(daemon, {})
    with holding(fpm, "/hold?220") as (held,):
        (pid,) = fpm.workers("www")
        # All limits apply to what runs.
        fpm.configure({"www": {**POOL, "pm.max_memory": "100M", "pm.max_memory_hard": "200M"}})
        reload(fpm, changed=True)
        fpm.wait_log(
            rf'WARNING: \[pool www\] child {pid}, request "GET /hold\?220" \(\d+\.\d+ sec\), uses \S+ MiB of memory, '
            r"more than pm.max_memory_hard \(200 MiB\), sending SIGKILL"
        )
        assert held.result().stdout == b""
    died = fpm.wait_log(rf"WARNING: \[pool www\] child {pid} exited on signal 9 \(SIGKILL\) after.*")[0]
    assert "terminated by the master (pm.max_memory_hard)" in died
    assert 'request "GET /hold?220" for' in died
    assert re.search(r"in (?:hold_on|exists) \(", died), "hold_on, or what it calls"
    assert "out of memory" not in died
    entry = (fpm.directory / "slow.log").read_text()
    assert entry.count("reason = memory") == 1
    assert f"pid {pid}" in entry
    assert "hold_on" in entry
    assert ask(fpm) != pid
    figures = numbers(fpm, "www")
    assert (figures["deaths by memory"], figures["deaths by timeout"], figures["deaths by oom"]) == (1, 0, 0)


def test_what_a_worker_says_of_itself_does_not_save_it(daemon: Start) -> None:
    fpm = start(daemon, {"pm.max_memory_hard": "200M"})
    fpm.expect_log("it is idle and is replaced")
    pid = ask(fpm)
    (fpm.apps / "hold").touch()
    with ThreadPoolExecutor(1) as client:
        lying = client.submit(fpm.get, "www", "/lie", query="220")
        fpm.wait_log(rf"child {pid} uses \S+ MiB of memory, more than pm.max_memory_hard \(200 MiB\), sending SIGKILL")
        assert lying.result().stdout == b""
    release(fpm)
    fpm.wait_log(rf"child {pid} exited on signal 9 \(SIGKILL\) after.*terminated by the master \(pm.max_memory_hard\)")
    assert ask(fpm) != pid


@pytest.mark.root
def test_pids_of_a_namespace_are_no_hindrance(daemon: Start) -> None:
    fpm = start(daemon, {"namespaces": "pid mount", "pm.max_memory_hard": "200M"})
    with holding(fpm, "/hold?220") as (held,):
        killed = fpm.wait_log(r'child (\d+), request "GET /hold\?220" .*more than pm.max_memory_hard .*SIGKILL$')
        assert held.result().stdout == b""
    died = fpm.wait_log(rf"child {killed[1]} exited on signal 9 \(SIGKILL\) after.*")[0]
    assert "terminated by the master (pm.max_memory_hard)" in died
    assert "hold_on (" in died


def test_an_idle_worker_above_the_hard_limit_is_replaced(daemon: Start) -> None:
    fpm = start(daemon, {"pm.max_memory_hard": "100M"})
    pid = ask(fpm, "/later", "120")
    fpm.wait_log(
        rf"WARNING: \[pool www\] child {pid} uses \S+ MiB of memory, more than pm.max_memory_hard \(100 MiB\); it "
        "is idle and is replaced"
    )
    fpm.wait_log(rf"child {pid} exited with code 0 after")
    assert ask(fpm) != pid
    assert numbers(fpm, "www")["deaths"] == []


def test_a_hard_limit_below_what_a_worker_needs_is_no_fast_loop(daemon: Start) -> None:
    fpm = start(daemon, {"pm.max_memory_hard": "100M", "env[AT_START]": "120"})
    fpm.wait_log(r"(?s)it is idle and is replaced(.*it is idle and is replaced){3}")
    fpm.expect_log("it is idle and is replaced")
    wait_until(lambda: not fpm.workers("www"))
    hold_for(lambda: not fpm.workers("www"), 0.2, message="there is no pause")
    wait_until(lambda: fpm.workers("www"), message="the pause has no end")


# -------------------------------------------------------------------------------------------------- a pool


DYNAMIC = {
    "pm": "dynamic",
    "pm.max_children": 4,
    "pm.start_servers": 3,
    "pm.min_spare_servers": 1,
    "pm.max_spare_servers": 3,
    "pm.process_idle_timeout": "1h",
}


def test_a_pool_above_its_soft_limit_gives_its_spare_workers_up(daemon: Start) -> None:
    fpm = start(daemon, {**DYNAMIC, "pm.memory_soft": "300M"})
    assert numbers(fpm, "www")["memory limit"] == "kept"
    with holding(fpm, "/hold?310"):
        fpm.wait_log(
            r"WARNING: \[pool www\] uses \S+ MiB of memory, more than pm.memory_soft \(300 MiB\): it keeps one spare"
        )
        wait_until(lambda: numbers(fpm, "www")["idle processes"] == 1)
        assert numbers(fpm, "www")["memory limit"] == "above pm.memory_soft"
        # The request that is in hand is nobody's loss, and others are served.
        (busy,) = {one["pid"] for one in numbers(fpm, "www")["processes"] if one["state"] == "Running"}
        assert ask(fpm) != busy
        hold_for(lambda: busy in fpm.workers("www"), 2.0)
    os.kill(busy, 9)
    fpm.expect_log(rf"child {busy} exited")
    fpm.wait_log(r"NOTICE: \[pool www\] uses \S+ MiB of memory, less than pm.memory_soft \(300 MiB\) again")
    assert fpm.log().count("more than pm.memory_soft") == 1
    assert numbers(fpm, "www")["memory limit"] == "kept"


def test_a_pool_above_its_hard_limit_shrinks_and_serves_on(daemon: Start) -> None:
    settings = {"pm.max_children": 3, "process_control_timeout": "200ms"}
    fpm = start(daemon, {"pm.max_children": 3, "pm.memory_soft": "200M", "pm.memory_hard": "400M"},
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
        hold_for(lambda: len(fpm.workers("www")) == 3, 4.0)
        assert fpm.log().count("(pm.memory_hard)") == 1
        assert numbers(fpm, "www")["memory limit"] == "above pm.memory_hard"
    assert [int(one.result().body) for one in held] == [sizes[320], sizes[60], sizes[20]]
    fpm.wait_log(rf"child {sizes[320]} exited with code 0 after")
    fpm.wait_log(r"uses \S+ MiB of memory, less than pm.memory_hard \(400 MiB\) again")
    assert ask(fpm) in (sizes[60], sizes[20])
    assert numbers(fpm, "www")["deaths"] == []
    # Without limits the pool is as large as it was.
    fpm.configure({"www": {**POOL, "pm.max_children": 3}})
    reload(fpm, changed=True)
    fpm.wait_workers("www", 3)
    assert "memory limit" not in numbers(fpm, "www")


@pytest.mark.parametrize(
    "wrapper",
    [(), pytest.param(("/usr/bin/setpriv", "--bounding-set=-sys_ptrace,-perfmon,-sys_admin"), marks=pytest.mark.root)],
    ids=["pss", "resident-sizes"],
)
def test_shared_memory_counts_once(daemon: Start, wrapper: tuple[str, ...]) -> None:
    settings = {"pm.max_children": 4, "preload": "yes", "env[AT_START]": "100", "process.dumpable": "no"}
    pool = {**POOL, **settings, "pm.memory_soft": "300M", "pm.memory_hard": "400M"}
    fpm = daemon({"www": pool}, started=False)
    write_app(fpm, "growing", GROWING)
    fpm.start(wrapper=wrapper)
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
    fpm = start(daemon, {"pm.memory_soft": "1G"}, status_listen=f"127.0.0.1:{where}")
    ask(fpm)
    metrics = read_metrics(fetch(where, "/metrics").body)
    assert metrics["pyfpm_memory_limit_exceeded", "www"] == 0
    assert metrics["pyfpm_deaths_total", "www", "memory"] == 0
