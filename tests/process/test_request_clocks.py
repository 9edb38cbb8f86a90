"""Where the clock of a request begins and ends: in the access log, for its limits, for a worker's idle time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.support import raw_fastcgi as raw
from tests.support.fpm import Daemon, Start
from tests.support.waiting import wait_until

POOL = {"app": "slow:application", "access.format": "%Q%q %d %{milli}d"}


LIMITS = {"request_slowlog_timeout": "1500ms", "request_terminate_timeout": "2s", "slowlog": "/dev/null"}
SHAPES = ("at once", "in two pieces", "with a body")


def pool_of(shape: str) -> str:
    """The pool that is asked in this shape."""
    return shape.replace(" ", "-")


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    """One daemon; each pool has an access log of its own."""
    pools = {"www": POOL} | {pool_of(shape): POOL | LIMITS for shape in SHAPES}
    idle = {"app": "slow:application", "pm": "ondemand", "pm.process_idle_timeout": "1s"}
    return shared_daemon(
        {name: {**pool, "access.log": f"{name}.log"} for name, pool in pools.items()} | {"idle": idle},
        global_={"log_level": "debug"},
    )


def logged(fpm: Daemon, pool: str, query: str) -> list[tuple[float, float]]:
    """The durations of all requests with this query that the access log has, in seconds and in milliseconds."""
    log = fpm.directory / f"{pool}.log"
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [(float(seconds), float(milliseconds)) for found, seconds, milliseconds in lines if found == f"?{query}"]


def longest(fpm: Daemon, pool: str, query: str, act: Callable[[], raw.Reply]) -> float:
    """Have a request answered; what no duration of it can exceed: the time until its line stands in the log."""
    begun = time.monotonic()
    assert act().status == 200
    wait_until(lambda: logged(fpm, pool, query))
    return time.monotonic() - begun


def test_the_access_log_tells_seconds_and_milliseconds(fpm: Daemon) -> None:
    limit = longest(fpm, "www", "0.5", lambda: fpm.get("www", query="0.5"))
    [(seconds, milliseconds)] = logged(fpm, "www", "0.5")
    assert 0.5 <= seconds <= limit + 0.001
    assert 500 <= milliseconds <= limit * 1000 + 1


@pytest.mark.parametrize("shape", SHAPES)
def test_the_clock_of_a_request_on_a_kept_connection_begins_with_its_variables(fpm: Daemon, shape: str) -> None:
    """Not with the connection, nor with the request before, nor with the first byte: that is the web server's time."""
    pool = pool_of(shape)
    body = b"body" if shape == "with a body" else b""
    method = "POST" if body else "GET"
    first, second = (
        raw.request_bytes(raw.web_params(method=method, query=query, body=body), body, flags=raw.KEEP_CONN)
        for query in ("0.0", "0.25")
    )
    early = 30 if shape == "in two pieces" else 0
    (worker,) = fpm.workers(pool)
    with raw.Wire(fpm.address(pool)) as wire:
        wire.send(first)
        assert wire.read_reply().status == 200
        wire.send(second[:early])
        for _ in range(8):
            assert fpm.get(pool, query="0.3").status == 200

        def ask() -> raw.Reply:
            wire.send(second[early:])
            return wire.read_reply()

        limit = longest(fpm, pool, "0.25", ask)
    [(seconds, _)] = logged(fpm, pool, "0.25")
    assert 0.25 <= seconds <= limit + 0.001  # the log has milliseconds, rounded
    assert fpm.figures(pool)["slow requests"] == 0
    assert fpm.workers(pool) == [worker]


def test_an_idle_worker_of_an_ondemand_pool_stays_for_its_time_after_a_long_request(fpm: Daemon) -> None:
    assert fpm.get("idle", query="1.5").status == 200
    found = fpm.wait_log(r"child \d+ has been killed by the process management after (\d+\.\d+) seconds from start")
    assert float(found[1]) >= 1.5 + 1.0
