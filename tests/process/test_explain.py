"""`pyfpm explain` names what workers are stuck in: the line, the process, the request, and whom they wait for."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support import raw_fastcgi
from tests.support.fpm import Daemon
from tests.support.held import release
from tests.support.waiting import wait_until

APP = Path(__file__).parent.parent / "apps" / "stuck.py"
BODY = b"x" * 1000
LONG = 1.0
"""Seconds; request_slowlog_timeout of the pools."""
HELD = ("lock", "recursion", "background", "keep")
"""Paths of requests that end with the file `hold`."""


def line_of(comment: str) -> str:
    """FILE:LINE of the application's line with this comment."""
    (line,) = [number for number, text in enumerate(APP.read_text().splitlines(), 1) if text.endswith(f"# {comment}")]
    return f"{APP.name}:{line}"


@contextmanager
def silent_server() -> Iterator[str]:
    """A server that accepts connections and never answers; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def slow_upload(fpm: Daemon) -> Iterator[None]:
    """A request of which only the first bytes of the body have come."""
    params = raw_fastcgi.web_params("/upload", method="POST", body=BODY)
    with raw_fastcgi.Wire(fpm.address("upload")) as wire:
        wire.send(raw_fastcgi.begin() + raw_fastcgi.stream(raw_fastcgi.PARAMS, raw_fastcgi.pairs(params)))
        wire.send(raw_fastcgi.record(raw_fastcgi.STDIN, BODY[:10]))
        yield


@contextmanager
def planted(fpm: Daemon) -> Iterator[str]:
    """A request that is stuck in each pool, two that are in `full` and one that waits there; the silent address.

    The C loop is planted apart, since it takes a processor.
    """
    with ExitStack() as ends:
        clients = ends.enter_context(ThreadPoolExecutor(10))
        database = ends.enter_context(silent_server())
        (fpm.apps / "hold").touch()
        fpm.apps.chmod(0o777)  # for SQLite's database
        ends.callback(release, fpm)
        for pool in (*HELD, "write"):
            clients.submit(fpm.get, pool, f"/{pool}")
        for pool in ("database", "full", "full", "full"):
            clients.submit(fpm.get, pool, "/database", query=database)
        ends.enter_context(slow_upload(fpm))
        yield database


@contextmanager
def c_loop(fpm: Daemon, pool: str) -> Iterator[None]:
    """A request in a loop in C, which hears no other signal."""
    (worker,) = fpm.figures(pool)["processes"]
    with ThreadPoolExecutor(1) as clients:
        clients.submit(fpm.get, pool, f"/{pool}")
        try:
            yield
        finally:
            os.kill(worker["pid"], signal.SIGKILL)


def explain(fpm: Daemon, pool: str, *arguments: str) -> tuple[int, str]:
    done = fpm.cli("explain", pool, *arguments)
    assert not done.stderr
    return done.returncode, done.stdout


def is_long(fpm: Daemon, pool: str, count: int) -> bool:
    """Whether each of so many workers has been busy for long."""
    workers = fpm.figures(pool)["processes"]
    spans = [one["request duration"] / 1e6 for one in workers if one["state"] != "Idle"]
    return len(spans) == count and min(spans) > LONG


@pytest.fixture
def stuck(daemon) -> Daemon:  # type: ignore[no-untyped-def]
    names = (*HELD, "write", "match", "hog", "database", "upload", "full", "idle")
    settings = {"app": "stuck:application", "request_slowlog_timeout": f"{LONG:g}s", "slowlog": "slow.log"}
    pools = {name: settings | {"pm.max_children": 2 if name == "full" else 1} for name in names}
    fpm: Daemon = daemon(pools)
    fpm.expect_log("executing too slow", "exited on signal 9 ")
    return fpm


def test_what_workers_are_stuck_in_is_named(stuck: Daemon) -> None:
    status, text = explain(stuck, "idle")
    assert status == 0
    assert text.startswith("idle is fine: 0 of 1 worker busy, queue 0")
    assert text.count("\n") == 1
    with planted(stuck) as database:
        loop = rf"in stuck\.match \({line_of('the C loop')}\)"
        with c_loop(stuck, "match"):
            check(stuck, "match", rf"{loop} computing in C code called by re\.match")
        with c_loop(stuck, "hog"):
            lock = "waiting for the interpreter's lock \\(GIL\\) while another thread of it is"
            check(stuck, "hog", rf"in stuck\.hog \(stuck\.py:\d+\) {lock} {loop}")
        place = rf"in stuck\.wait_for_lock \({line_of('the lock')}\)"
        holder = r"stuck\.nap \(stuck\.py:\d+\)"
        check(stuck, "lock", rf"{place} waiting for a lock while another thread of it is in {holder}")
        check(stuck, "database", rf"in stuck\.query \({line_of('the database')}\) waiting for {database}")
        check(stuck, "recursion", rf"in stuck\.descend \({line_of('the recursion')}\) in a recursion of 401 calls")
        (keeper,) = stuck.workers("keep")
        place = rf"in stuck\.write \({line_of('the writer')}\)"
        path = re.escape(str(stuck.apps / "shop.sqlite3"))
        check(stuck, "write", rf"{place} waiting for the lock of SQLite's database {path} that pid {keeper} has")
        place = rf"in stuck\.receive \({line_of('the upload')}\)"
        check(stuck, "upload", rf"{place} reading the request's body of 1000 B from the web server", "POST")
        check(stuck, "background", rf"in the background work stuck\.rebuild_index in {holder} asleep")
        check_saturation(stuck, database)


def check(fpm: Daemon, pool: str, words: str, method: str = "GET") -> None:
    """The pool's only worker is said to be stuck in this way, with its pid and its request."""
    wait_until(lambda: is_long(fpm, pool, 1))
    (worker,) = fpm.figures(pool)["processes"]
    start = rf"{pool} (is slow|has background work that does not end): 1 of 1 worker busy, 1 of them "
    expected = rf"{start}{words} for [^(]*\(pid {worker['pid']}, {method} /{pool}[?)]"
    wait_for_words(fpm, expected, pool)


def wait_for_words(fpm: Daemon, expected: str, pool: str, *arguments: str) -> None:
    """Ask until the paragraph is as expected: a look may fail where the machine is too busy for it."""
    said = ""

    def is_said() -> bool:
        nonlocal said
        status, said = explain(fpm, pool, *arguments)
        return status == 1 and re.match(expected, said) is not None

    wait_until(is_said, message=lambda: f"not as expected: {said}")


def check_saturation(fpm: Daemon, database: str) -> None:
    wait_until(lambda: is_long(fpm, "full", 2) and fpm.figures("full")["listen queue"] == 1)
    start, place = r"full (is|has been) saturated.*: 2 of 2 workers busy", line_of("the database")
    words = rf"{start}, 2 of them in stuck\.query \({place}\) waiting for {database} for up to .*, queue 1"
    wait_for_words(fpm, words, "full")
    status, text = explain(fpm, "full", "--format", "json")
    found = json.loads(text)
    assert (status, found["ok"], found["queue"], found["looked_at"], found["not_looked_at"]) == (1, False, 1, 2, 0)
    kinds = [one["kind"] for one in found["findings"]]
    assert kinds[-1 - ("past" in kinds)] == "saturated", "after its causes; nobody keeps the past here"
    wait_for_words(fpm, rf"{start}, 2 of them in stuck\.query \({place}\) for up to", "full", "--looks", "0")
    one = json.loads(explain(fpm, "full", "--looks", "1", "--format", "json")[1])
    assert (one["looked_at"], one["not_looked_at"]) == (1, 1)
