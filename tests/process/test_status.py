"""The status and ping pages through a worker and from the master: exact keys, and counters that are right."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support import raw_fastcgi
from tests.support.fpm import Daemon, Start
from tests.support.pools import facts, free_port, numbers, together, wait_numbers
from tests.support.waiting import wait_until

POOL = {"app": "slow:application", "pm.status_path": "/status", "ping.path": "/ping", "pm.max_children": 3}
SHORT = [
    "pool",
    "process manager",
    "start time",
    "start since",
    "accepted conn",
    "listen queue",
    "max listen queue",
    "listen queue len",
    "idle processes",
    "active processes",
    "total processes",
    "max active processes",
    "max children reached",
    "slow requests",
    "memory peak",
]
FULL = [
    "pid",
    "state",
    "start time",
    "start since",
    "requests",
    "request duration",
    "request method",
    "request uri",
    "content length",
    "user",
    "script",
    "last request cpu",
    "last request memory",
]


HELD = {**POOL, "app": "held:application"}
FAMILIES = ("unix", "tcp")
POOLS: dict[str, dict[str, object]] = {
    "forms": {**POOL, "ping.response": "alive and well"},
    "dying": POOL,
    "shown": POOL,
    "busy": {**HELD, "pm.max_children": 2},
    "closed": {**POOL, "pm.status_allow": "10.0.0.0/8 ::1"},
    "asleep": {**POOL, "pm": "ondemand", "pm.process_idle_timeout": "1s"},
    "many-unix": {**HELD, "pm.max_children": 5},
    "many-tcp": {**HELD, "pm.max_children": 5, "listen": None},
    "one-unix": {**HELD, "pm.max_children": 1},
    "one-tcp": {**HELD, "pm.max_children": 1, "listen": None},
}


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    """One daemon with a pool for each test."""
    tcp = {name: {**POOLS[name], "listen": f"127.0.0.1:{free_port()}"} for name in ("many-tcp", "one-tcp")}
    return shared_daemon(POOLS | tcp)


def page(fpm: Daemon, pool: str, query: str) -> raw_fastcgi.Reply:
    """The status page through a worker."""
    reply = fpm.get(pool, "/status", query=query)
    assert reply.status == 200
    assert reply.headers["expires"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert reply.headers["cache-control"] == "no-cache, no-store, must-revalidate, max-age=0"
    return reply


def test_json_begins_with_exactly_these_keys(fpm: Daemon) -> None:
    """What is ours stands after PHP-FPM's keys."""
    pool = "forms"
    reply = page(fpm, pool, "json")
    assert reply.headers["content-type"] == "application/json"
    assert re.match(rb'\{"pool":"forms","process manager":"static","start time":\d+,"start since":\d+,"acc', reply.body)
    assert list(json.loads(reply.body))[: len(SHORT)] == SHORT
    wait_numbers(fpm, pool, idle_processes=3)
    full = json.loads(page(fpm, pool, "json&full").body)
    assert list(full)[: len(SHORT)] == SHORT
    assert len(full["processes"]) == 3
    for process in full["processes"]:
        assert list(process)[: len(FULL)] == FULL
    assert {process["pid"] for process in full["processes"]} == set(fpm.workers(pool))
    (own,) = [process for process in full["processes"] if process["state"] == "Running"]
    assert own["request uri"] == "/status?json&full"
    assert own["request method"] == "GET"


def test_text_has_phps_form(fpm: Daemon) -> None:
    pool = "forms"
    reply = page(fpm, pool, "")
    assert reply.headers["content-type"].startswith("text/plain")
    lines = reply.body.decode().splitlines()[: len(SHORT)]
    assert [line.split(":", 1)[0] for line in lines] == SHORT
    assert all(line[:22].rstrip().endswith(":") and line[22] != " " for line in lines)
    full = page(fpm, pool, "full").body.decode()
    assert full.count("\n************************\n") == 3
    block = full.split("************************\n")[1].splitlines()
    keys = ["request URI" if key == "request uri" else key for key in FULL]
    assert [line.split(":", 1)[0] for line in block if line][: len(keys)] == keys


def test_counters_right_after_load_and_deaths(fpm: Daemon) -> None:
    pool = "dying"
    fpm.expect_log("exited on signal 9")
    together(30, lambda _: fpm.get(pool, "/x", query="0.01"))
    assert numbers(fpm, pool)["accepted conn"] == 30
    for victim in fpm.workers(pool):
        os.kill(victim, signal.SIGKILL)
    wait_until(lambda: fpm.log().count("exited on signal 9") == 3)
    wait_numbers(fpm, pool, idle_processes=3, total_processes=3)
    for _ in range(7):
        fpm.get(pool, query="0")
    wait_numbers(fpm, pool, idle_processes=3)
    found = json.loads(page(fpm, pool, "json&full").body)
    assert found["accepted conn"] == 38
    assert sum(process["requests"] for process in found["processes"]) == 8
    assert found["active processes"] == 1
    assert found["max active processes"] == 3
    assert found["slow requests"] == 0
    assert found["memory peak"] > 1 << 20
    assert 0 <= time.time() - found["start time"] < 3600
    # The master says the same, this request's own worker being idle again.
    wait_numbers(fpm, pool, accepted_conn=38, active_processes=0, idle_processes=3, max_active_processes=3)


def test_a_request_in_hand_is_shown(fpm: Daemon) -> None:
    pool = "shown"
    params = {**raw_fastcgi.web_params("/long", query="hold", body=b"four"), "REMOTE_USER": "jo"}
    hold = fpm.apps / "hold"
    hold.touch()
    thread = threading.Thread(target=lambda: raw_fastcgi.exchange(fpm.address(pool), params, b"four"))
    began = time.monotonic()
    thread.start()
    wait_numbers(fpm, pool, active_processes=1)

    def find_busy() -> dict[str, Any]:
        (found,) = [process for process in numbers(fpm, pool)["processes"] if process["state"] != "Idle"]
        return found

    busy = wait_until(lambda: (found := find_busy())["request duration"] > 900_000 and found)
    assert busy["state"] == "Running"
    assert busy["request uri"] == "/long?hold"
    assert busy["request method"] == "GET"
    assert busy["content length"] == 4
    assert busy["user"] == "jo"
    assert busy["script"] == "slow:application"
    assert busy["request duration"] < (time.monotonic() - began) * 1e6
    assert busy["last request cpu"] == 0
    hold.unlink()
    thread.join(60)
    page = wait_numbers(fpm, pool, idle_processes=3)
    idle = next(process for process in page["processes"] if process["pid"] == busy["pid"])
    assert idle["requests"] == 1
    assert busy["request duration"] <= idle["request duration"] < (time.monotonic() - began) * 1e6


def test_master_answers_when_all_workers_are_busy(fpm: Daemon) -> None:
    pool = "busy"
    hold = fpm.apps / "hold"
    hold.touch()
    threads = [threading.Thread(target=lambda: fpm.get(pool, "/nap"), daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    # A connection that was accepted before its request had come may be with a worker, and not in the queue.
    found = wait_numbers(fpm, pool, active_processes=2)
    wait_until(lambda: numbers(fpm, pool)["listen queue"] >= 1)
    assert found["idle processes"] == 0
    assert facts(fpm, pool)["state"] == "running"
    hold.unlink()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_ping(fpm: Daemon) -> None:
    pool = "forms"
    reply = fpm.get(pool, "/ping")
    assert reply.body == b"alive and well"
    assert reply.headers["content-type"].startswith("text/plain")
    # Exact paths only.
    assert fpm.get(pool, "/ping/", query="0").body.isdigit()
    head = raw_fastcgi.exchange(fpm.address(pool), raw_fastcgi.web_params("/ping", method="HEAD"))
    assert (head.status, head.body) == (200, b"")


def test_who_may_look(fpm: Daemon) -> None:
    pool = "closed"

    def ask(path: str, address: str | None) -> bytes:
        params = {**raw_fastcgi.web_params(path, query="0"), "REMOTE_ADDR": address or ""}
        if address is None:
            del params["REMOTE_ADDR"]
        return raw_fastcgi.exchange(fpm.address(pool), params).body

    for address in ("10.1.2.3", "::1", "::ffff:10.1.2.3", None):
        assert ask("/status", address).startswith(b"pool:"), address
        assert ask("/ping", address) == b"pong", address
    for address in ("127.0.0.1", "11.0.0.1", "unix:", "nonsense", ""):  # an empty one is not none
        # The application has the request instead, as if there were no such page.
        assert ask("/status", address).isdigit(), address
        assert ask("/ping", address).isdigit(), address


def test_status_of_a_pool_without_processes(fpm: Daemon) -> None:
    pool = "asleep"
    assert (facts(fpm, pool)["state"], numbers(fpm, pool)["total processes"]) == ("idle", 0)
    found = json.loads(page(fpm, pool, "json").body)
    assert (found["active processes"], found["process manager"]) == (1, "ondemand")
    wait_until(lambda: fpm.processes(f" {pool}") == [])
    assert numbers(fpm, pool)["accepted conn"] == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_what_busy_workers_have_accepted_waits_as_if_it_were_in_the_queue(fpm: Daemon, family: str) -> None:
    """Connections are accepted by idle workers; the requests come on all of them at once."""
    pool = f"many-{family}"
    fpm.wait_workers(pool, 5)
    hold = fpm.apps / "hold"
    hold.touch()
    request = raw_fastcgi.request_bytes(raw_fastcgi.web_params("/nap"))
    with ExitStack() as stack:
        clients = [stack.enter_context(raw_fastcgi.Wire(fpm.address(pool))) for _ in range(9)]
        for client in clients:
            client.send(request[:8])
        wait_numbers(fpm, pool, idle_processes=5, listen_queue=0)
        for client in clients:
            client.send(request[8:])
        wait_numbers(fpm, pool, active_processes=5, listen_queue=4)
        hold.unlink()
        assert [client.read_reply().status for client in clients] == [200] * 9
    # Right after they had connected more may have been in the kernel's queue.
    assert 4 <= wait_numbers(fpm, pool, active_processes=0, listen_queue=0)["max listen queue"] <= 9


@pytest.mark.parametrize("family", FAMILIES)
def test_a_worker_tells_how_many_wait_behind_the_one_that_asks(fpm: Daemon, family: str) -> None:
    pool = f"one-{family}"
    hold = fpm.apps / "hold"
    hold.touch()
    with ExitStack() as stack:

        def ask(path: str, query: str = "") -> raw_fastcgi.Wire:
            wire = stack.enter_context(raw_fastcgi.Wire(fpm.address(pool)))
            wire.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params(path, query=query)))
            return wire

        busy = ask("/nap")
        fpm.wait_active(pool, 1)
        status, *behind = ask("/status", "json"), ask("/nap"), ask("/nap")
        wait_numbers(fpm, pool, listen_queue=3)
        hold.unlink()
        assert busy.read_reply().status == 200
        page = json.loads(status.read_reply().body)
        assert (page["listen queue"], page["max listen queue"]) == (2, 3)
        assert [wire.read_reply().status for wire in behind] == [200, 200]
