"""Requests over a limit: logged, ended, told apart; and what the watch over them costs."""

from __future__ import annotations

import re
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support import raw_fastcgi as raw
from tests.support.fpm import Daemon, Start
from tests.support.held import holding_at_once
from tests.support.nginx import StartNginx
from tests.support.processes import quiet, status_of, switches
from tests.support.reloads import reload
from tests.support.waiting import hold_for, wait_until

LONG = "60"


@contextmanager
def running(fpm: Daemon, *paths: str, query: str = LONG) -> Iterator[list[raw.Wire]]:
    """Requests that are under way, each on a connection of its own."""
    wires = [raw.Wire(fpm.address("www"), timeout=60) for _ in paths]
    try:
        for wire, path in zip(wires, paths, strict=True):
            wire.send(raw.request_bytes(raw.web_params(path, query=query)))
        yield wires
    finally:
        for wire in wires:
            wire.close()


def entries(fpm: Daemon) -> list[str]:
    """What is in the slow log."""
    file = fpm.directory / "slow.log"
    return re.split(r"\n\n", file.read_text()) if file.exists() else []


def test_over_the_limits(daemon: Start, nginx: StartNginx) -> None:
    """One daemon: each way of being stuck ends, is said with its request, and leaves its stack."""
    pool = {
        "app": "timeouts:application",
        "pm.max_children": 7,
        "slowlog": "slow.log",
        "request_slowlog_timeout": "500ms",
        "request_terminate_timeout": "2s",
    }
    fpm = daemon({"www": pool})
    fpm.expect_log("executing too slow", "execution timed out", "exited on signal", "has not exited on SIGTERM")
    before = set(fpm.wait_workers("www", 7))
    ways = ["/sleep", "/in_c", "/ignore", "/stop", "/lock"]
    with running(fpm, *ways) as wires:
        upload = raw.Wire(fpm.address("www"), timeout=60)
        params = raw.web_params("/upload", method="POST", body=b"x" * 1000)
        upload.send(raw.request_bytes(params, b"x" * 1000)[:-600])
        server = nginx(f"location / {{ include fastcgi_params; fastcgi_pass unix:{fpm.address('www')}; }}")
        assert server.get(f"/receive?{LONG}", timeout=60).status == 502
        for wire in [*wires, upload]:
            assert not wire.read_reply().ended, "the worker was ended, so was the connection"
        upload.close()
    log = fpm.log()
    for way in [*ways, "/receive", "/upload"]:
        method = "POST" if way == "/upload" else "GET"
        request = rf"child (\d+), script 'timeouts:application' \(request: \"{method} {way}(\?{LONG})?\"\)"
        slow = re.search(rf"WARNING: \[pool www\] {request} executing too slow \((\d+\.\d{{6}}) sec\), logging", log)
        ended = re.search(rf"WARNING: \[pool www\] {request} execution timed out \((\d+\.\d{{6}}) sec\), term", log)
        assert slow is not None, way
        assert ended is not None, way
        assert slow[1] == ended[1]
        assert 0.5 <= float(slow[3]) <= float(ended[3])
        assert float(ended[3]) >= 2.0
        assert len(re.findall(rf"{request} executing too slow", log)) == 1, "once for each request"
    for way in ("/ignore", "/stop"):
        pid = re.search(rf"child (\d+), .*{way}.* terminating", log)
        assert pid is not None
        assert re.search(
            rf"child {pid[1]} has not exited on SIGTERM \(request_terminate_timeout\), sending SIGKILL", log
        )
    assert "terminating (reading the request's body)" in log
    found = entries(fpm)
    for way in ("sleep", "in_c", "ignore", "lock", "receive"):
        mine = [entry for entry in found if f"request = GET /{way}?" in entry]
        assert [re.search(r"^reason = (\w+)$", entry, re.MULTILINE)[1] for entry in mine] == ["slow", "terminate"]
        assert all(f" {way}() " in entry for entry in mine), mine
    assert any("request = POST /upload" in one and "stage = reading the request's body" in one for one in found)
    # All are replaced, and what is within the limits is left alone: short requests, and kept connections between them.
    wait_until(lambda: len(fpm.workers("www")) == 7 and not before & set(fpm.workers("www")))
    with raw.Wire(fpm.address("www")) as kept:
        kept.send(raw.request_bytes(raw.web_params("/"), flags=raw.KEEP_CONN))
        pid = kept.read_reply().body
        hold_for(lambda: not select.select([kept.socket], [], [], 0)[0], 2.5, message="a kept connection was closed")
        kept.send(raw.request_bytes(raw.web_params("/"), flags=raw.KEEP_CONN))
        assert kept.read_reply().body == pid
    # A limit that is set while a request runs counts for it at once.
    fpm.configure({"www": pool | {"request_slowlog_timeout": 0, "request_terminate_timeout": 0}})
    reload(fpm, changed=True)
    with running(fpm, "/child") as wires:
        fpm.wait_active("www", 1)
        fpm.configure({"www": pool | {"request_slowlog_timeout": 0, "request_terminate_timeout": "100ms"}})
        reload(fpm, changed=True)
        assert not wires[0].read_reply().ended
        fpm.wait_log(r"GET /child\?60.* execution timed out")


def test_the_work_after_the_response_has_limits_of_its_own(daemon: Start) -> None:
    pool = {
        "app": "timeouts:application",
        "pm.max_children": 2,
        "slowlog": "slow.log",
        "request_slowlog_timeout": "1s",
        "request_terminate_timeout": "3s",
        "background_timeout": "1500ms",
    }
    fpm = daemon({"www": pool})
    fpm.expect_log("exited on signal 15")
    assert fpm.get("www", "/after", query=LONG).body == b"answered"
    found = fpm.wait_log(r"GET /after\?60\"\) execution timed out \((\d+\.\d+) sec\), terminating \(after the response")
    assert float(found[1]) >= 1.5
    fpm.wait_log(r"terminated by the master \(background_timeout\)")
    fpm.wait_workers("www", 2)
    assert "executing too slow" not in fpm.log(), "its response was in time"
    assert fpm.figures("www")["slow requests"] == 0
    assert any("reason = background" in entry and "stage = after the response" in entry for entry in entries(fpm))
    tracked = {"request_terminate_timeout_track_finished": True, "background_timeout": 0}
    fpm.configure({"www": pool | tracked})
    reload(fpm, changed=True)
    assert fpm.get("www", "/after", query=LONG).body == b"answered"
    fpm.wait_log(r"executing too slow \(\d+\.\d+ sec\), logging \(after the response")
    fpm.wait_log(r"terminated by the master \(request_terminate_timeout\)")
    assert fpm.figures("www")["slow requests"] == 1
    assert fpm.get("www", "/after", query="1.2").body == b"answered"
    wait_until(lambda: fpm.figures("www")["slow requests"] == 2 and not fpm.figures("www")["active processes"])
    assert fpm.get("www", "/after", query="0").body == b"answered"
    assert fpm.figures("www")["slow requests"] == 2


def test_fifty_at_once_are_logged_in_time(daemon: Start) -> None:
    pool = {"app": "slow:application", "pm.max_children": 50, "slowlog": "slow.log"}
    fpm = daemon({"www": pool | {"request_slowlog_timeout": "1s"}})
    fpm.expect_log("executing too slow")
    fpm.wait_workers("www", 50)
    file = fpm.directory / "slow.log"
    with holding_at_once(fpm, 50):  # a stack is that of its request only as long as that runs
        wait_until(lambda: file.read_text().count("reason = slow") == 50, message="not 50 entries")
    assert len(set(re.findall(r"^\[.*pid (\d+)$", file.read_text(), re.MULTILINE))) == 50
    assert file.read_text().count("+++ dump failed") == 0


def test_nobody_wakes_up_for_limits_while_nothing_runs(daemon: Start) -> None:
    limits = {
        "slowlog": "slow.log",
        "request_slowlog_timeout": "100ms",
        "request_slowlog_interval": "100ms",
        "request_terminate_timeout": "1s",
        "background_timeout": "1s",
        "request_interrupt": True,
    }
    pools = {
        "static": {"pm.max_children": 2, **limits},
        "dynamic": {
            "pm": "dynamic",
            "pm.max_children": 3,
            "pm.start_servers": 1,
            "pm.min_spare_servers": 1,
            "pm.max_spare_servers": 2,
            **limits,
        },
    }
    fpm = daemon(pools, global_={"systemd_interval": 0})
    for pool in pools:
        assert fpm.get(pool).status == 200
    pids = [fpm.pid, *fpm.workers("static"), *fpm.workers("dynamic")]
    quiet(pids, seconds=3.0)
    # Under load, too, it is the limits that wake the master and not the requests.
    wait_until(lambda: switches_for(fpm, 300) < 150, message="it wakes for every request")


def switches_for(fpm: Daemon, requests: int) -> int:
    """How often the master has gone to sleep meanwhile; a limit wakes it by its interval, however long they take."""
    before = switches(fpm.pid)
    for _ in range(requests):
        assert fpm.get("static").status == 200
    return switches(fpm.pid) - before


def test_no_kill_without_a_line(daemon: Start) -> None:
    """A stop that comes to SIGKILL: each worker's request is in the log, and the stack of those that would not go."""
    pool = {"app": "timeouts:application", "pm.max_children": 2, "slowlog": "slow.log"}
    fpm = daemon({"www": pool}, global_={"process_control_timeout": "1s"})
    fpm.expect_log("has not exited in time", "exited on signal")
    with running(fpm, "/sleep", "/ignore"):
        fpm.wait_active("www", 2)
        deaf = 1 << signal.SIGTERM - 1  # of one of them
        wait_until(lambda: any(int(status_of(pid)["SigIgn"], 16) & deaf for pid in fpm.workers("www")))
        assert fpm.cli("stop", "--now").returncode == 0
        assert fpm.wait() == 0
    log = fpm.log()
    for way in ("/sleep", "/ignore"):
        assert re.search(rf'child \d+, request "GET {way}\?60" is cut off after \d+\.\d+ sec \(stop\)', log), log
    assert re.search(r'child \d+, request "GET /ignore\?60" has not exited in time \(stop\), sending SIGKILL', log)
    # A stack that comes too late for the stop is told as such.
    assert any("reason = stop" in entry and " ignore() " in entry for entry in entries(fpm)) or "; no stack: " in log
