"""Workers that leave at pm.max_requests, and workers that die again and again."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter

import psutil
import pytest

from tests.support import raw_fastcgi
from tests.support.fpm import Start
from tests.support.held import release
from tests.support.pools import clients, numbers, wait_numbers, wait_state, write_app
from tests.support.processes import cpu_seconds
from tests.support.waiting import wait_until

PID = """
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
DEAF = """
import os
import select
import socket
import time

def mark(name):
    with open(os.path.join(os.environ["MARKS"], name), "w") as file:
        file.write(str(os.getpid()))

def listener():
    for name in os.listdir("/proc/self/fd"):
        try:
            view = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        if view.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return view

def application(environ, start_response):
    if environ["PATH_INFO"] == "/deaf":
        epoll = select.epoll()
        epoll.register(listener(), select.EPOLLIN | select.EPOLLEXCLUSIVE)
        mark("registered")
        while not os.path.exists(os.path.join(os.environ["MARKS"], "listen")):
            time.sleep(0.01)
        mark("listening")
        epoll.poll()
        mark("woken")
        time.sleep(60)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
"""At /deaf it listens beside its worker, as soon as it is told so, and does not take what comes."""
MANAGERS = {
    "static": {"pm": "static", "pm.max_children": 2},
    "dynamic": {"pm": "dynamic", "pm.max_children": 4, "pm.min_spare_servers": 1, "pm.max_spare_servers": 2},
    "ondemand": {"pm": "ondemand", "pm.max_children": 3},
}


def test_exact_limit_without_jitter(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "pid:application", "pm.max_requests": 5, "pm.max_requests_jitter": 0}}, started=False)
    write_app(fpm, "pid", PID)
    fpm.start()
    served = [fpm.get("www").body for _ in range(23)]
    counts = list(Counter(served).values())
    assert counts == [5, 5, 5, 5, 3]
    fpm.wait_workers("www", 1)
    assert numbers(fpm, "www")["accepted conn"] == 23


def test_jitter_spreads_the_limits(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "pid:application", "pm.max_requests": 4, "pm.max_requests_jitter": 6}}, started=False)
    write_app(fpm, "pid", PID)
    fpm.start()
    served = [fpm.get("www").body for _ in range(150)]
    counts = list(Counter(served).values())[:-1]
    assert min(counts) >= 4
    assert max(counts) <= 10
    assert len(set(counts)) > 2


@pytest.mark.parametrize("manager", MANAGERS)
def test_no_request_fails_while_workers_are_recycled(daemon: Start, manager: str) -> None:
    pool = {"app": "pid:application", "pm.max_requests": 10, "pm.max_requests_jitter": 3, **MANAGERS[manager]}
    fpm = daemon({"www": pool}, started=False)
    write_app(fpm, "pid", PID)
    fpm.expect_log("server reached pm.max_children setting")
    fpm.start()
    with clients(fpm, "www", count=3) as found:
        wait_until(lambda: len(found.good) >= 600 or found.bad)
    assert found.bad == []
    counts = Counter(found.good)
    assert len(counts) >= 40
    # The last request on a worker may already be on its way to it when it reaches its limit.
    assert max(counts.values()) <= 13
    wait_until(lambda: numbers(fpm, "www")["accepted conn"] == len(found.good))


def test_replacement_is_there_before_the_old_worker_leaves(daemon: Start) -> None:
    pool = {"app": "lingering:application", "pm.max_requests": 1, "pm.max_requests_jitter": 0}
    fpm = daemon({"www": pool}, started=False)
    write_app(
        fpm,
        "lingering",
        """
        import atexit, os, time
        import fpm

        @fpm.postfork
        def stay():
            atexit.register(linger)

        def linger():
            while os.path.exists("hold"):
                time.sleep(0.01)

        def application(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(os.getpid()).encode()]
        """,
    )
    (fpm.apps / "hold").touch()
    fpm.start()
    first = int(fpm.get("www").body)
    # The old one cannot end; the next request does not wait for that.
    second = int(fpm.get("www").body)
    assert second != first
    assert psutil.pid_exists(first)
    release(fpm)
    fpm.wait_log(rf"NOTICE: \[pool www\] child {first} exited with code 0 after")


@pytest.mark.parametrize("manager", MANAGERS)
def test_dying_at_every_start_does_not_spin(daemon: Start, manager: str) -> None:
    pool = {"app": "dying:application", **MANAGERS[manager]}
    fpm = daemon({"www": pool, "good": {}}, started=False)
    write_app(
        fpm,
        "dying",
        """
        import os
        import fpm
        from hello import application

        @fpm.postfork
        def die():
            with open("forks", "a") as file:
                file.write("x")
            os.abort()
        """,
    )
    forks = fpm.apps / "forks"
    forks.touch()
    forks.chmod(0o666)
    fpm.expect_log(r"\[pool www\]")
    fpm.start()
    began, before = time.monotonic(), cpu_seconds(fpm.pid)
    assert fpm.get("www").status == 503
    wait_state(fpm, "www", "failed")
    # An ondemand pool tries again when somebody asks.
    wait_until(lambda: fpm.get("www").status == 503 and "next try in 2 s" in fpm.log())
    assert forks.stat().st_size < 20
    assert fpm.get("good").status == 200
    assert cpu_seconds(fpm.pid) - before < 0.5 + 0.3 * (time.monotonic() - began)


def test_worker_that_dies_in_every_request_is_replaced_with_pauses(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "trouble:application", "pm.max_children": 2}})
    fpm.expect_log(r"exited on signal 9")
    with clients(fpm, "www", "/kill", count=4) as found:
        wait_until(lambda: len(found.bad) >= 11)
    deaths = [line for line in fpm.log().splitlines() if "exited on signal 9" in line]
    # At once at first, then with a pause each, for clients wait; never as fast as they can fork.
    assert all(re.search(r"respawned in [\d.]+ s \(backoff", line) for line in deaths[4:]), deaths
    assert fpm.get("www").status == 200
    wait_numbers(fpm, "www", total_processes=2)


def test_one_death_is_replaced_at_once(daemon: Start) -> None:
    fpm = daemon({"www": {"pm.max_children": 1}})
    fpm.expect_log("exited on signal 9")
    (worker,) = fpm.workers("www")
    os.kill(worker, signal.SIGKILL)
    assert fpm.get("www").status == 200
    line = fpm.wait_log(rf"child {worker} exited on signal 9.*$")[0]
    assert line.endswith("; respawned"), "without a pause"


def test_connection_accepted_before_its_request_outlives_its_worker(daemon: Start) -> None:
    fpm = daemon({"www": {"pm.max_children": 1}})
    (worker,) = fpm.workers("www")
    with raw_fastcgi.Wire(fpm.address("www")) as wire:
        wait_until(lambda: numbers(fpm, "www")["listen queue"] == 0)
        os.kill(worker, signal.SIGQUIT)
        fpm.wait_log(rf"child {worker} exited with code 0")
        wire.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params()))
        assert wire.read_reply().status == 200


def test_a_connection_that_has_woken_nobody_but_a_worker_that_is_killed_then(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    marks = fpm.directory / "marks"
    marks.mkdir()
    marks.chmod(0o777)
    write_app(fpm, "deaf", DEAF)
    pool = {"app": "deaf:application", "pm": "ondemand", "pm.max_children": 2, "pm.process_idle_timeout": "60s"}
    fpm.configure({"www": {**pool, "env[MARKS]": marks}})
    fpm.start()
    with raw_fastcgi.Wire(fpm.address("www")) as wire:
        wire.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params("/deaf")))
        wait_until((marks / "registered").exists)
        # The second worker comes after that, so in the kernel's list it stands behind the application of the first.
        second = int(fpm.get("www").body)
        wait_numbers(fpm, "www", idle_processes=1, active_processes=1)
        (first,) = set(fpm.workers("www")) - {second}
        (marks / "listen").touch()
        wait_until((marks / "listening").exists)
        wait_until(lambda: psutil.Process(first).status() == psutil.STATUS_SLEEPING)
        with raw_fastcgi.Wire(fpm.address("www")) as client:
            client.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params()))
            wait_until((marks / "woken").exists)
            fpm.expect_log(f"child {first} exited on signal 9")
            os.kill(first, signal.SIGKILL)
            assert int(client.read_reply().body) == second
        assert not wire.read_reply().ended
