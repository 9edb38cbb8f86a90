"""Requests that end with their worker are counted once, as what their clients have got, and with the time they took."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from fpm.status.overview import Pool
from fpm.status.snapshot import read_snapshot
from tests.support.fpm import Daemon, Start
from tests.support.looking import fetch, read_metrics
from tests.support.pools import together, write_app
from tests.support.waiting import wait_until

APP = """
    import ctypes, os, signal, time
    import fpm

    def application(environ, start_response):
        when, way = environ["PATH_INFO"].strip("/").split("/")
        if when == "before":
            WAYS[way]()
        start_response("200 OK", [("Content-Type", "text/plain")])
        if when == "finished":
            fpm.finish_request([b"complete"])
            WAYS[way]()
        if when == "later":
            fpm.after_response(WAYS[way])
        if when == "closing":
            return Closing(WAYS[way])
        return pieces(WAYS[way]) if when == "within" else [b"complete"]

    def pieces(way):
        yield b"the first piece"
        way()
        yield b"the last one"

    class Closing:
        def __init__(self, way):
            self.close = way

        def __iter__(self):
            return iter([b"complete"])

    WAYS = {
        "sleep": lambda: time.sleep(60),
        "exit": lambda: os._exit(3),
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "crash": lambda: ctypes.string_at(0),
        "nothing": lambda: None,
    }
"""
LIMIT = 4.0
"""Seconds: request_terminate_timeout."""
LOST = ("/before/sleep", "/before/exit", "/before/kill", "/before/crash")
"""Of these the clients get nothing."""
CUT = ("/within/exit", "/within/kill", "/closing/exit")
ANSWERED = ("/finished/kill", "/later/exit", "/later/nothing")
"""Their workers end after their responses, or not at all."""
POOL: dict[str, Any] = {"app": "lost:application", "request_terminate_timeout": f"{LIMIT:g}s", "pm.status_path": "/own"}


def counts(pool: Pool) -> tuple[list[int], int, int, int, int]:
    """Responses by class, aborted ones; how many durations, CPU times and first bytes were counted."""
    found = pool.statistics
    histograms = (found.response.count, found.cpu.count, found.first_byte.count)
    return (list(found.classes), found.aborted, *histograms)


def is_counted(fpm: Daemon, name: str) -> bool:
    """Whether all requests have been counted, and all workers that have ended were buried."""
    pool = fpm.pool(name)
    asked, ended = len(LOST) + len(CUT) + len(ANSWERED), len(LOST) + len(CUT) + len(ANSWERED) - 1
    assert pool.statistics.response.count <= asked
    return (pool.statistics.response.count, len(pool.deaths)) == (asked, ended)


@pytest.fixture
def lost(daemon: Start) -> Daemon:
    """Two pools, with the compiled hot path and without, in which each request has been asked for once."""
    fpm = daemon({"www": {}}, started=False)
    write_app(fpm, "lost", APP)
    pools = {"compiled": POOL, "plain": POOL | {"hotpath": "no", "request_statistics": "no"}}
    workers = {"pm": "static", "pm.max_children": len(LOST) + len(CUT) + len(ANSWERED)}
    fpm.configure(
        {name: pool | workers for name, pool in pools.items()}, global_={"status_listen": fpm.directory / "status.sock"}
    )
    fpm.expect_log(r"child \d+ exited", "execution timed out", "said into stderr")
    fpm.start()
    asked = [(name, path) for name in pools for path in (*LOST, *CUT, *ANSWERED)]
    together(len(asked), lambda number: fpm.get(*asked[number]))
    return fpm


def routes(fpm: Daemon, name: str) -> dict[str, tuple[int, int]]:
    """Requests and errors by route."""
    answer = fpm.ask("snapshot", pool=name, routes=True)
    (pool,) = read_snapshot(base64.b64decode(answer["snapshot"])).pools
    return {one.route: (one.requests, one.errors) for one in pool.routes}


def test_each_request_is_counted_once_as_what_its_client_has_got(lost: Daemon) -> None:
    for name in ("compiled", "plain"):
        wait_until(lambda: is_counted(lost, name))  # noqa: B023
        pool = lost.pool(name)
        assert counts(pool) == ([0, len(ANSWERED), 0, 0, len(LOST)], len(CUT), 10, len(ANSWERED), 6)
        assert pool.statistics.response.total >= LIMIT * 1e6, "the time limit is a duration"
        assert (pool.numbers.timeouts, pool.numbers.errors, pool.numbers.requests) == (1, 0, 10)
        answered = {death.request: death.has_answered for death in pool.deaths if death.request_state == "running"}
        assert answered == {f"GET {path}": path in CUT for path in (*LOST, *CUT)}
    assert routes(lost, "plain") == {}, "request_statistics = no"
    assert routes(lost, "compiled") == {path: (1, int(path in LOST + CUT)) for path in (*LOST, *CUT, *ANSWERED)}
    metrics = read_metrics(fetch(str(lost.directory / "status.sock"), "/metrics").body)
    assert metrics["pyfpm_responses_total", "plain", "5xx"] == len(LOST)
    assert metrics["pyfpm_aborted_requests_total", "plain"] == len(CUT)
    assert metrics["pyfpm_request_duration_seconds_bucket", "plain", "2.5"] == 9, "all but the one that timed out"
    assert metrics["pyfpm_request_duration_seconds_count", "plain"] == 10
