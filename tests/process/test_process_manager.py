"""How many workers there are: static, dynamic and ondemand, with real clients and a real clock."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import psutil
import pytest

from tests.support.fpm import Daemon, Settings, Start
from tests.support.held import HOLD, holding, holding_at_once
from tests.support.pools import clients, free_port, numbers, wait_numbers, wait_state, write_app
from tests.support.waiting import wait_until

SLOW = {"app": "slow:application"}
DYNAMIC = {
    **SLOW,
    "pm": "dynamic",
    "pm.max_children": 50,
    "pm.start_servers": 2,
    "pm.min_spare_servers": 2,
    "pm.max_spare_servers": 4,
    "pm.process_idle_timeout": "1s",
}
ONDEMAND = {**SLOW, "pm": "ondemand", "pm.max_children": 50, "pm.process_idle_timeout": "1s"}
BURST = 50
POOLS: dict[str, Settings] = {
    "static": {**SLOW, "pm.max_children": 4},
    "grows": {**DYNAMIC, "pm.max_children": 30, "pm.start_servers": 3},
    "spare": {**DYNAMIC, "pm.min_spare_servers": 3, "pm.start_servers": 3},
    "nothing": ONDEMAND,
    "dynamic": {**DYNAMIC, "pm.max_children": BURST + 10, "pm.process_idle_timeout": "30s"},
    "ondemand": {**ONDEMAND, "pm.max_children": BURST + 10, "pm.process_idle_timeout": "30s"},
}
MAX_REACHED = "server reached pm.max_children setting"


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    """A daemon with a pool for each of these tests."""
    return shared_daemon(POOLS)


def burst(fpm: Daemon, pool: str, count: int) -> dict[str, Any]:
    """Ask `count` times at once; each has a worker of its own before the first is answered. The pool's page then."""
    with holding_at_once(fpm, count, pool=pool) as replies:
        # Those that are made count as active, too.
        wait_until(lambda: fpm.stages(pool).count("Running") == count)
        page = numbers(fpm, pool)
    assert [reply.result().status for reply in replies] == [200] * count
    return page


def test_static_replaces_the_dead(fpm: Daemon) -> None:
    first = fpm.wait_workers("static", 4)
    fpm.expect_log("exited on signal 15", "exited on signal 9")
    os.kill(first[0], signal.SIGKILL)
    os.kill(first[1], signal.SIGTERM)
    wait_until(lambda: len(set(fpm.workers("static")) - set(first)) == 2)
    page = wait_numbers(fpm, "static", idle_processes=4)
    assert page["total processes"] == 4
    assert page["process manager"] == "static"
    assert page["max children reached"] == 0


def test_worker_told_to_quit_by_hand_is_replaced(fpm: Daemon) -> None:
    victim = fpm.workers("static")[0]
    os.kill(victim, signal.SIGQUIT)
    fpm.wait_log(rf"NOTICE: \[pool static\] child {victim} exited with code 0 after")
    wait_numbers(fpm, "static", idle_processes=4)


def test_dynamic_starts_grows_and_shrinks(fpm: Daemon) -> None:
    assert numbers(fpm, "grows")["idle processes"] == 3
    grown = burst(fpm, "grows", 20)
    assert grown["total processes"] >= 20
    assert grown["max active processes"] == 20
    # All surplus goes together when its time is up, down to max_spare_servers.
    wait_numbers(fpm, "grows", total_processes=4, max_active_processes=20)
    assert numbers(fpm, "grows")["max children reached"] == 0


def test_dynamic_keeps_spare_servers(fpm: Daemon) -> None:
    with holding(fpm, HOLD, HOLD, pool="spare"):
        page = wait_numbers(fpm, "spare", active_processes=2, idle_processes=3)
        assert page["total processes"] == 5
        assert len(fpm.workers("spare")) == 5


def test_dynamic_doubles_its_pace_and_says_that_it_is_busy(daemon: Start) -> None:
    pool = {**DYNAMIC, "pm.min_spare_servers": 16, "pm.start_servers": 16, "pm.max_spare_servers": 30}
    fpm = daemon({"www": {**pool, "pm.max_spawn_rate": 16}})
    fpm.expect_log("seems busy")
    with holding_at_once(fpm, 16):
        # 1, 2, 4 and then 8 a second; a burst is another matter.
        fpm.wait_log(r"\[pool www\] seems busy .*, spawning 8 children, there are 7 idle, and 23 total children")
        # And one more in the next second.
        wait_numbers(fpm, "www", active_processes=16, idle_processes=16)


def test_ondemand_from_nothing_to_nothing(fpm: Daemon) -> None:
    assert fpm.processes("nothing") == []
    assert burst(fpm, "nothing", 1)["total processes"] == 1
    assert 5 <= burst(fpm, "nothing", 5)["total processes"] <= 6
    wait_until(lambda: fpm.workers("nothing") == [])
    wait_until(lambda: fpm.processes("nothing") == [], message="the template stays")
    wait_state(fpm, "nothing", "idle")
    page = numbers(fpm, "nothing")
    assert (page["accepted conn"], page["total processes"]) == (6, 0)
    assert fpm.get("nothing", query="0").status == 200


@pytest.mark.parametrize("pool", ["dynamic", "ondemand"])
def test_burst_is_answered_as_it_comes(fpm: Daemon, pool: str) -> None:
    if pool == "ondemand":
        burst(fpm, pool, 2)
    wait_numbers(fpm, pool, idle_processes=2)
    burst(fpm, pool, BURST)  # how long it takes is measured by `make bench`
    assert numbers(fpm, pool)["max children reached"] == 0


def test_clients_that_come_while_workers_import_get_their_own(daemon: Start) -> None:
    pool = {"app": "importing:application", "preload": "no", "pm": "ondemand", "pm.max_children": 10}
    fpm = daemon({"www": pool}, started=False)
    wait = "import os, time\nwhile os.path.exists('hold'): time.sleep(0.01)\n"
    write_app(fpm, "importing", wait + "from slow import application\n")
    fpm.start()
    with holding_at_once(fpm, 5) as replies:
        # All five import at the same time, rather than the others when the first has its answer.
        wait_numbers(fpm, "www", total_processes=5)
    assert [reply.result().status for reply in replies] == [200] * 5
    assert numbers(fpm, "www")["total processes"] == 5


@pytest.mark.parametrize(("pm", "family"), [("dynamic", "tcp"), ("ondemand", "unix")])
def test_max_children_is_kept_and_told_once_an_episode(daemon: Start, pm: str, family: str) -> None:
    pool = DYNAMIC if pm == "dynamic" else ONDEMAND
    listen = {"listen": f"127.0.0.1:{free_port()}"} if family == "tcp" else {}
    fpm = daemon({"www": {**pool, **listen, "pm.max_children": 4}})
    fpm.expect_log(MAX_REACHED)
    for episode in (1, 2):
        with clients(fpm, "www", query="0.5", count=9) as found:
            page = wait_numbers(fpm, "www", active_processes=4)
            # Five wait; those that were accepted before their request had come are not in the queue.
            wait_until(lambda: numbers(fpm, "www")["listen queue"] >= 2)
            assert page["listen queue len"] > 5
            wait_until(lambda: len(found.good) >= 12)
            assert len(fpm.workers("www")) == 4
            wait_until(lambda: numbers(fpm, "www")["max listen queue"] >= 2, message="the master has not looked")
            wait_numbers(fpm, "www", max_children_reached=episode)
        wait_until(lambda: len(fpm.workers("www")) < 4) if pm == "ondemand" else None
        if pm == "dynamic":
            break
    count = 1 if pm == "dynamic" else 2
    assert fpm.log().count(f"[pool www] {MAX_REACHED} (4), consider raising it") == count


def test_process_max_is_shared_by_all_pools(daemon: Start) -> None:
    pools = {"one": {**ONDEMAND, "pm.process_idle_timeout": "1s"}, "two": {**ONDEMAND}}
    fpm = daemon(pools, global_={"process.max": 3})
    fpm.expect_log("The maximum number of processes has been reached", MAX_REACHED)
    with clients(fpm, "one", query="0.2", count=4) as one:
        wait_until(lambda: len(one.good) >= 4)
        fpm.wait_workers("one", 3)
        before = psutil.Process(fpm.pid).cpu_times()
        began = time.monotonic()
        one.stopped.set()
        # The other pool has to wait until there is room, and the master does not spin meanwhile.
        assert fpm.get("two", query="0").status == 200
        after = psutil.Process(fpm.pid).cpu_times()
        spent = after.user + after.system - before.user - before.system
        assert spent < 0.1 + 0.1 * (time.monotonic() - began)
    assert len(fpm.workers("one")) + len(fpm.workers("two")) <= 3
