"""How requests end, counted by a real daemon: over reloads, deaths, failures and an upgrade no number is lost."""

from __future__ import annotations

import json
from typing import Any

from fpm.stacks.text.read import read_entries
from tests.support import raw_fastcgi as raw
from tests.support.fpm import Daemon, Start
from tests.support.looking import fetch, read_metrics
from tests.support.pools import free_port, wait_numbers, wait_state, write_app
from tests.support.reloads import reload
from tests.support.waiting import wait_until

APP = """
    import time

    def application(environ, start_response):
        way = environ["PATH_INFO"][1:]
        if way == "late":
            time.sleep(60)
        start_response(f"{way if way.isdigit() else 200} Text", [("Content-Type", "text/plain")])
        return [b"x" * 64] if way.isdigit() else (b"x" * 65536 for _ in range(2000))
"""
POOL: dict[str, object] = {
    "app": "ways:application",
    "pm": "static",
    "pm.max_children": 2,
    "pm.status_path": "/status",
    "request_terminate_timeout": "4s",
    "request_slowlog_timeout": "2s",
    "slowlog": "slow.log",
}
LATE = "GET /late?token=secret"
CLASSES = [f"responses {digit}xx" for digit in range(1, 6)]


def classes(page: dict[str, Any]) -> list[int]:
    return [page[key] for key in CLASSES]


def status_at(port: int) -> dict[str, object]:
    return {"status_listen": f"127.0.0.1:{port}", "status_listen.exemplars": True}


def start(daemon: Start) -> tuple[Daemon, int]:
    """A daemon with a pool that serves and one whose application does not start; the port of its status."""
    fpm, port = daemon({"www": {}}, started=False), free_port()
    write_app(fpm, "ways", APP)
    fpm.configure({"www": POOL, "bad": {**POOL, "app": "none:application"}}, global_=status_at(port))
    fpm.expect_log(r"pool bad")
    fpm.start()
    fpm.wait_workers("www", 2)
    wait_state(fpm, "bad", "failed")
    return fpm, port


def ask(fpm: Daemon, *statuses: int) -> None:
    for status in statuses:
        assert fpm.get("www", f"/{status}").status == status


def abort(fpm: Daemon) -> None:
    """Be a web server that goes away in the middle of a response."""
    with raw.Wire(fpm.address("www")) as wire:
        wire.send(raw.request_bytes(raw.web_params("/large")))
        assert wire.read_record()


def time_out(fpm: Daemon) -> None:
    """Have a request cut off by request_terminate_timeout."""
    fpm.expect_log("executing too slow", "execution timed out", r"child \d+ exited on signal")
    with raw.Wire(fpm.address("www")) as wire:
        wire.send(raw.request_bytes(raw.web_params("/late", query="token=secret")))
        assert wire.read_record() is None


def test_no_request_is_lost_over_reload_failure_death_and_upgrade(daemon: Start) -> None:
    fpm, port = start(daemon)
    ask(fpm, 200, 204, 302, 404, 404, 500)
    # A worker counts when the response is out: another one may be first to count what came later.
    page = wait_numbers(fpm, "www", responses_2xx=2, responses_3xx=1, responses_4xx=2, responses_5xx=1)
    assert classes(page) == [0, 2, 1, 2, 1]
    abort(fpm)
    wait_numbers(fpm, "www", aborted=1)
    time_out(fpm)
    page = wait_numbers(fpm, "www", timeouts=1, slow_requests=1, total_processes=2, responses_5xx=2)
    assert (classes(page), page["errors"], page["unavailable"]) == ([0, 2, 1, 2, 2], 0, 0)
    check_cut_off(fpm, port)

    assert [fpm.get("bad").status for _ in range(3)] == [503] * 3
    page = wait_numbers(fpm, "bad", unavailable=3)
    assert (classes(page), page["errors"]) == ([0, 0, 0, 0, 3], 0)

    write_app(fpm, "none", APP)
    larger = {**POOL, "pm": "ondemand", "pm.max_children": 200}  # which takes another scoreboard
    fpm.configure({"www": larger, "bad": {**larger, "app": "none:application"}}, global_=status_at(port))
    reload(fpm)
    ask(fpm, 500)
    assert fpm.get("bad", "/200").status == 200
    check_numbers(fpm, port)
    assert fpm.ask("upgrade")["ok"]
    check_numbers(fpm, port)
    accepted = fpm.figures("www")["accepted conn"]
    moved = {**larger, "listen": fpm.directory / "moved.sock"}  # which takes another supervisor
    fpm.configure({"www": moved, "bad": {**larger, "app": "none:application"}}, global_=status_at(port))
    reload(fpm)
    check_numbers(fpm, port)
    assert fpm.figures("www")["accepted conn"] == accepted
    check_own_page(fpm)


def check_cut_off(fpm: Daemon, port: int) -> None:
    """The slow log tells of the end of the request that was cut off, and so do the status and the metrics."""
    path = fpm.directory / "slow.log"
    *stacks, end = wait_until(
        lambda: (read := list(read_entries([path.read_bytes()]))) and read[-1].reason == "end" and read
    )
    assert [entry.reason for entry in stacks] == ["slow", "terminate"]
    assert {(entry.pool, entry.pid, entry.method, entry.uri) for entry in stacks} == {
        (end.pool, end.pid, end.method, end.uri)
    }
    assert (end.stage, end.seconds > 2.0) == ("cut off", True)
    (group,) = json.loads(fpm.cli("slow", "www", "--format", "json").stdout)["groups"]
    assert (group["count"], group["unfinished"], group["total"] > 2.0) == (1, 0, True)
    (slow,) = fpm.pool("www").slow
    assert (slow.pid, slow.request, slow.running, slow.seconds > 2.0) == (end.pid, LATE, False, True)
    assert slow.stack[0].startswith("application (")
    exemplar = f' # {{pid="{end.pid}",request="GET /late"}} {slow.seconds:.6f} '
    assert exemplar in fetch(port, "/metrics").body.decode(), "without its query"


def check_numbers(fpm: Daemon, port: int) -> None:
    """What both pools have counted until the reload and shortly after it."""
    page = wait_numbers(fpm, "www", responses_5xx=3)
    assert (classes(page), page["aborted"], page["timeouts"]) == ([0, 2, 1, 2, 3], 1, 1)
    page = wait_numbers(fpm, "bad", responses_2xx=1)
    assert (classes(page), page["unavailable"]) == ([0, 1, 0, 0, 3], 3)
    count = "pyfpm_request_duration_seconds_count", "www"
    metrics = wait_until(lambda: (read := read_metrics(fetch(port, "/metrics").body))[count] == 9 and read)
    assert metrics["pyfpm_responses_total", "www", "4xx"] == 2
    assert metrics["pyfpm_unavailable_responses_total", "bad"] == 3
    # Eight responses and one that was aborted.
    assert metrics["pyfpm_request_duration_seconds_bucket", "www", "+Inf"] == 9
    assert metrics["pyfpm_request_cpu_seconds_count", "www"] == 8, "of the one that was cut off nobody knows"


def check_own_page(fpm: Daemon) -> None:
    """A worker's own page has the numbers, too, with what former workers have counted elsewhere."""
    page, own = fpm.figures("www"), json.loads(fpm.get("www", "/status", query="json").body)
    names = (*CLASSES, "aborted", "timeouts", "unavailable")
    assert [own[name] for name in names] == [page[name] for name in names]
