"""Memory limits of a worker, soft and hard, that the master looks after."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.growing import POOL, grow, start_growing, start_growing_pools
from tests.support.held import holding, release
from tests.support.pools import numbers
from tests.support.processes import quiet
from tests.support.reloads import reload
from tests.support.waiting import hold_for, side_by_side, wait_until

SOFT = {"pm.max_memory": "100M", "pm.max_memory_hard": "10G"}
"""With a hard limit somebody looks every two seconds, without one every five."""


def test_a_busy_worker_above_the_soft_limit_is_replaced_and_not_cut_off(daemon: Start) -> None:
    names = ("preload-yes", "preload-no")
    pools = {name: {**SOFT, "preload": name.removeprefix("preload-")} for name in names}
    fpm = start_growing_pools(daemon, pools, process_control_timeout="200ms")
    with holding(fpm, "/hold?120", pool=names[0]) as (one,), holding(fpm, "/hold?120", pool=names[1]) as (other,):
        held = dict(zip(names, (one, other), strict=True))
        gone = {pool: successor_of(fpm, pool) for pool in names}
        # Far longer than a worker has to leave otherwise.
        hold_for(lambda: all(pid in fpm.workers(pool) for pool, (pid, _) in gone.items()), 1.5)
        assert not any(one.done() for one in held.values())
    for pool, (pid, successor) in gone.items():
        assert int(held[pool].result().body) == pid
        fpm.wait_log(rf"child {pid} exited with code 0 after")
        assert fpm.wait_workers(pool, 1) == [successor]
        figures = numbers(fpm, pool)
        assert (figures["recycled memory"], figures["deaths"]) == (1, [])
    assert not (fpm.directory / "slow.log").read_text()


def successor_of(fpm: Daemon, pool: str) -> tuple[int, int]:
    """The worker that is too large, once that has been said, and the one that answers by then."""
    gone = fpm.wait_log(
        rf"NOTICE: \[pool {pool}\] child (\d+) has used \S+ MiB of memory, more than pm.max_memory \(100 MiB\); "
        r'it is replaced after request "GET /hold\?120"'
    )
    pid, successor = int(gone[1]), int(fpm.get(pool).body)
    assert successor != pid
    return pid, successor


def test_a_request_that_may_take_its_time_may_do_so_after_an_upgrade(daemon: Start) -> None:
    fpm = start_growing(daemon, SOFT, process_control_timeout="200ms")
    (pid,) = fpm.workers("www")
    with holding(fpm, "/hold?120") as (held,):
        fpm.wait_log(r"it is replaced after request")
        fpm.wait_workers("www", 2)
        done = fpm.cli("upgrade")
        assert done.returncode == 0, done.stderr
        hold_for(lambda: pid in fpm.workers("www"), 1.5)
    assert int(held.result().body) == pid
    fpm.wait_workers("www", 1)


def test_a_reload_gives_such_a_request_as_much_time_as_the_others(daemon: Start) -> None:
    fpm = start_growing(daemon, SOFT, process_control_timeout="200ms")
    (pid,) = fpm.workers("www")
    with holding(fpm, "/hold?120") as (held,):
        fpm.wait_log(r"it is replaced after request")
        fpm.wait_workers("www", 2)
        fpm.expect_log(rf"child {pid}")
        reload(fpm)
        wait_until(lambda: pid not in fpm.workers("www"))
        assert held.result().stdout == b""


def test_without_workers_nobody_looks(daemon: Start) -> None:
    limits = {"pm.max_memory": "1G", "pm.max_memory_hard": "2G", "pm.memory_soft": "3G", "pm.memory_hard": "4G"}
    ondemand = {"pm": "ondemand", "pm.process_idle_timeout": "1s", "pm.max_children": 2}
    fpm = start_growing(daemon, {**ondemand, **limits}, systemd_interval="0")
    for _ in range(2):
        grow(fpm)
        fpm.wait_workers("www", 0)
        quiet([fpm.pid], seconds=3.0, switches_allowed=0)  # with these limits there would be a look every two seconds


def test_a_busy_worker_above_the_hard_limit_is_killed_with_its_stack(daemon: Start) -> None:
    fpm = start_growing(daemon, {})
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
    assert grow(fpm) != pid
    figures = numbers(fpm, "www")
    assert (figures["deaths by memory"], figures["deaths by timeout"], figures["deaths by oom"]) == (1, 0, 0)


def test_what_a_worker_says_of_itself_does_not_save_it(daemon: Start) -> None:
    fpm = start_growing(daemon, {"pm.max_memory_hard": "200M"})
    fpm.expect_log("it is idle and is replaced")
    pid = grow(fpm)
    (fpm.apps / "hold").touch()
    with ThreadPoolExecutor(1) as client:
        lying = client.submit(fpm.get, "www", "/lie", query="220")
        fpm.wait_log(rf"child {pid} uses \S+ MiB of memory, more than pm.max_memory_hard \(200 MiB\), sending SIGKILL")
        assert lying.result().stdout == b""
    release(fpm)
    fpm.wait_log(rf"child {pid} exited on signal 9 \(SIGKILL\) after.*terminated by the master \(pm.max_memory_hard\)")
    assert grow(fpm) != pid


@pytest.mark.root
def test_pids_of_a_namespace_are_no_hindrance(daemon: Start) -> None:
    fpm = start_growing(daemon, {"namespaces": "pid mount", "pm.max_memory_hard": "200M"})
    with holding(fpm, "/hold?220") as (held,):
        killed = fpm.wait_log(r'child (\d+), request "GET /hold\?220" .*more than pm.max_memory_hard .*SIGKILL$')
        assert held.result().stdout == b""
    died = fpm.wait_log(rf"child {killed[1]} exited on signal 9 \(SIGKILL\) after.*")[0]
    assert "terminated by the master (pm.max_memory_hard)" in died
    assert re.search(r"in (?:hold_on|exists) \(", died), "hold_on, or what it calls"


def test_idle_workers(daemon: Start) -> None:
    pools: dict[str, dict[str, Any]] = {
        "grows": {"pm.max_memory": "100M"},
        "far": {"pm.max_memory_hard": "100M"},
        "large": {**SOFT, "env[AT_START]": "120"},
        "loop": {"pm.max_memory_hard": "100M", "env[AT_START]": "120"},
    }
    fpm = start_growing_pools(daemon, pools)
    side_by_side(
        lambda: grows_without_a_request(fpm, "grows"),
        lambda: is_replaced_above_the_hard_limit(fpm, "far"),
        lambda: stays_if_it_is_large_from_the_start(fpm, "large"),
        lambda: does_not_come_again_and_again(fpm, "loop"),
    )


def grows_without_a_request(fpm: Daemon, pool: str) -> None:
    pid = grow(fpm, "/later", "120", pool=pool)
    fpm.wait_log(rf"child {pid} has used \S+ MiB of memory, more than pm.max_memory")
    fpm.wait_log(rf"child {pid} exited with code 0 after")
    assert grow(fpm, pool=pool) != pid
    assert numbers(fpm, pool)["recycled memory"] == 1


def is_replaced_above_the_hard_limit(fpm: Daemon, pool: str) -> None:
    pid = grow(fpm, "/later", "120", pool=pool)
    fpm.wait_log(
        rf"WARNING: \[pool {pool}\] child {pid} uses \S+ MiB of memory, more than pm.max_memory_hard \(100 MiB\); it "
        "is idle and is replaced"
    )
    fpm.wait_log(rf"child {pid} exited with code 0 after")
    assert grow(fpm, pool=pool) != pid
    assert numbers(fpm, pool)["deaths"] == []


def stays_if_it_is_large_from_the_start(fpm: Daemon, pool: str) -> None:
    fpm.wait_log(rf"\[pool {pool}\] .* uses \S+ MiB of memory right after its start, more than pm.max_memory")
    pid = grow(fpm, pool=pool)
    hold_for(lambda: fpm.workers(pool) == [pid], 7.0, message="it has been replaced")


def is_pause(fpm: Daemon, pool: str) -> bool:
    """Whether there is no worker for 0.2 s; one that has just left may be replaced at once."""
    try:
        hold_for(lambda: not fpm.workers(pool), 0.2)
    except AssertionError:
        return False
    return True


def does_not_come_again_and_again(fpm: Daemon, pool: str) -> None:
    replaced = rf"\[pool {pool}\] child \d+ uses .* it is idle and is replaced"
    wait_until(lambda: len(re.findall(replaced, fpm.log())) >= 4)
    fpm.expect_log(replaced)
    wait_until(lambda: is_pause(fpm, pool), message="there is no pause")
    wait_until(lambda: fpm.workers(pool), message="the pause has no end")
