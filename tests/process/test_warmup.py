"""preload.warmup: requests that the application answers in the template, before its workers are forked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.pools import numbers, write_app
from tests.support.reloads import reload
from tests.support.waiting import wait_until

APP = """
import os, sys
import fpm

seen = []

def application(environ, start_response):
    path = environ["SCRIPT_NAME"], environ["PATH_INFO"]
    start_response("200 OK", [("Content-Type", "application/json")])
    if environ["PATH_INFO"] == "/seen":
        import json
        return [json.dumps({"seen": seen, "pid": os.getpid()}).encode()]
    entry = {"path": path, "pid": os.getpid(), "query": environ["QUERY_STRING"], "host": environ["HTTP_HOST"],
             "method": environ["REQUEST_METHOD"], "body": environ["wsgi.input"].read().decode(), "closed": False}
    seen.append(entry)
    fpm.after_response(entry.__setitem__, "after", True)
    return Body(entry)


class Body:
    def __init__(self, entry):
        self.entry = entry

    def __iter__(self):
        yield b"one"
        yield b"two"

    def close(self):
        self.entry["closed"] = True
"""
BEGIN = """
import os
count = 0

def application(environ, start_response):
    global count
    if environ["PATH_INFO"] == "/":
        count += 1
        {first}
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{{count}} {{os.getppid()}}".encode()]
"""


def template_of(fpm: Daemon, pool: str) -> int:
    """The pid of the pool's only template."""
    (template,) = fpm.templates(pool)
    return template


def seen(fpm: Daemon, pool: str, path: str = "/seen") -> list[dict[str, Any]]:
    """What the application remembers of requests before."""
    answer = json.loads(fpm.get(pool, path).body)
    found: list[dict[str, Any]] = answer["seen"]
    assert answer["pid"] in fpm.workers(pool)
    return found


WARMED: dict[str, dict[str, object]] = {
    "www": {
        "app": "warm:application",
        "pm": "static",
        "pm.max_children": 2,
        "preload.warmup": "GET /a%20b?c=d /two HEAD /x",
    },
    "shop": {"app": "warm:application", "script_name": "/shop", "preload.warmup": "GET /shop/a"},
    "cold": {"app": "warm:application"},
}
WRONG = {
    "raises": "raise ValueError('no table yet')",
    "exits": "raise SystemExit(3)",
    "refuses": "start_response('404 Not Found', []); return []",
    "silent": "return []",
    "copies": "os.fork()",
}
UNSAFE = {
    "thread": "import threading; threading.Thread(target=threading.Event().wait, daemon=True, name='it').start()",
    "connection": "import socket; globals()['kept'] = socket.socketpair()",
}
HANGING = {"hanging": "import time; time.sleep(600)"}


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    """One daemon with a pool for each way to be warmed up."""
    bodies = WRONG | UNSAFE | HANGING
    pools = WARMED | {name: {"app": f"app_{name}:application", "preload.warmup": "GET /"} for name in bodies}
    pools["forced"] = {**pools["connection"], "preload": "yes"}
    pools["hanging"]["startup_timeout"] = "5s"
    made = shared_daemon(pools, started=False)
    write_app(made, "warm", APP)
    for name, first in bodies.items():
        write_app(made, f"app_{name}", BEGIN.format(first=first))
    made.expect_log(r"WARNING: \[pool (raises|exits|refuses|silent)\] ", r"\[pool hanging\] ")
    return made.start()


def test_workers_share_what_the_first_requests_have_made(fpm: Daemon) -> None:
    common = {"pid": template_of(fpm, "www"), "host": "localhost", "body": "", "closed": True, "after": True}
    assert seen(fpm, "www") == [
        {"method": "GET", "path": ["", "/a b"], "query": "c=d", **common},
        {"method": "GET", "path": ["", "/two"], "query": "", **common},
        {"method": "HEAD", "path": ["", "/x"], "query": "", **common},
    ]
    assert [one["path"] for one in seen(fpm, "shop", "/shop/seen")] == [["/shop", "/a"]]
    assert seen(fpm, "cold") == []
    # It is no request of the status, and a new generation has its own.
    assert numbers(fpm, "www")["accepted conn"] == 1
    former = template_of(fpm, "www")
    reload(fpm, "www")
    wait_until(lambda: len(fpm.templates("www")) == 1)
    (first, *_) = seen(fpm, "www")
    assert first["pid"] == template_of(fpm, "www") != former


def test_a_warm_up_that_goes_wrong_is_named_and_the_pool_starts(fpm: Daemon) -> None:
    for name in WRONG:
        assert fpm.get(name, "/other").body == f"1 {template_of(fpm, name)}".encode()
    log = fpm.log()
    assert "WARNING: [pool refuses] preload.warmup: GET /: answered 404 Not Found" in log
    assert "WARNING: [pool raises] preload.warmup: GET /: uncaught exception" in log
    assert "ValueError: no table yet" in log
    assert "SystemExit: 3" in log
    assert "[pool silent] preload.warmup: GET /: uncaught exception" in log
    assert "[pool copies] preload.warmup" not in log
    assert not [line for line in log.splitlines() if "fpm/template" in line and "[pool hanging]" not in line]


def test_a_warm_up_that_is_not_safe_to_fork_from_is_undone(fpm: Daemon) -> None:
    for name in UNSAFE:
        # The application was imported in the template all the same, which is the worker's parent.
        assert fpm.get(name, "/other").body == f"0 {template_of(fpm, name)}".encode()
    assert fpm.get("forced", "/other").body == f"1 {template_of(fpm, 'forced')}".encode()
    log = fpm.log()
    assert log.count("preload.warmup: not safe to fork from") == 2
    assert "[pool thread] preload.warmup: not safe to fork from, 1 thread(s) alive after preload.warmup (it)" in log
    assert "[pool connection] preload.warmup: not safe to fork from, connected socket(s)" in log


def test_a_warm_up_that_does_not_end_is_a_start_that_does_not(fpm: Daemon) -> None:
    assert fpm.get("hanging", "/other").status == 503
    assert "app_hanging.py" in fpm.log()  # where it was
