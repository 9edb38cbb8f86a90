"""Stops are complete: requests in hand finish or are cut as asked, and nothing that an application started is left."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from tests.support.fpm import Daemon, Start
from tests.support.pools import write_app
from tests.support.reloads import load, reload
from tests.support.waiting import wait_until

FAMILY = """
import os
import signal
import subprocess
import sys

DEAF = "; ".join([
    "import signal, time",
    "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 15)]",
    "print('deaf', flush=True)",
    "time.sleep(600)",
])
DAEMON = "; ".join([
    "import os, time",
    "pid = os.fork()",
    "pid and (print(pid, flush=True), os._exit(0))",
    "os.setsid()",
    "os.close(1)",
    "time.sleep(600)",
])

def application(environ, start_response):
    kind = environ["QUERY_STRING"]
    if kind == "deaf":
        child = subprocess.Popen([sys.executable, "-c", DEAF], start_new_session=True, stdout=subprocess.PIPE)
        child.stdout.readline()
    elif kind == "daemon":
        # A grandchild whose parent has ended, in a session of its own.
        made = subprocess.run([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE, timeout=20)
        start_response("200 OK", [])
        return [made.stdout.split()[0]]
    else:
        child = subprocess.Popen(["sleep", "600"], start_new_session=kind == "session")
    start_response("200 OK", [])
    return [str(child.pid).encode()]
"""
KINDS = ["group", "session", "deaf", "daemon"]


def start_family(daemon: Start) -> tuple[Daemon, list[int]]:
    fpm = daemon({"www": {"app": "family:application", "pm.max_children": 2}}, started=False)
    write_app(fpm, "family", FAMILY)
    fpm.start()
    made = []
    for kind in KINDS:
        reply = fpm.get("www", query=kind)
        assert reply.status == 200, reply
        made.append(int(reply.body))
    assert all(psutil.pid_exists(pid) for pid in made)
    return fpm, made


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM, signal.SIGINT])
def test_grandchildren_are_ended(daemon: Start, number: signal.Signals) -> None:
    fpm, made = start_family(daemon)
    fpm.expect_log("exited on signal 15")
    fpm.signal(number)
    assert fpm.wait() == 0
    assert [pid for pid in made if psutil.pid_exists(pid)] == []


def test_grandchildren_survive_a_reload_and_end_with_the_daemon(daemon: Start) -> None:
    """A background job that a request has started is not the reload's business."""
    fpm, made = start_family(daemon)
    workers = fpm.workers("www")
    reload(fpm)
    wait_until(lambda: not set(workers) & set(fpm.workers("www")))
    assert [pid for pid in made if psutil.pid_exists(pid)] == made
    fpm.signal(signal.SIGQUIT)
    assert fpm.wait() == 0
    assert [pid for pid in made if psutil.pid_exists(pid)] == []


def test_graceful_stop_lets_requests_finish(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "slow:application", "pm.max_children": 2}})
    bodies: list[bytes] = []
    with load(*[lambda found: bodies.append(fpm.get("www", query="3").body)] * 2):
        fpm.wait_active("www", 2)
        fpm.signal(signal.SIGQUIT)
        fpm.wait_log("Finishing")
        with pytest.raises(OSError, match=r"refused|No such file"):
            fpm.get("www")
    assert fpm.wait() == 0
    assert len(bodies) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_fast_stop_waits_for_nobody(daemon: Start, number: signal.Signals) -> None:
    fpm = daemon({"www": {"app": "slow:application"}})
    fpm.expect_log("exited on signal 15")
    with load(lambda found: found.bad.append(fpm.get("www", query="30"))) as found:
        wait_until(lambda: "Running" in fpm.cli("status", "--full").stdout)
        fpm.signal(number)
        assert fpm.wait() == 0
    assert not found.bad[0].ended


STUBBORN = """
import signal
import time

def application(environ, start_response):
    if environ["QUERY_STRING"]:
        try:
            time.sleep(float(environ["QUERY_STRING"]))
        except BaseException:
            time.sleep(60)
    start_response("200 OK", [])
    return [b"ok"]
"""


@pytest.mark.parametrize("kind", ["quit", "reload"])
def test_workers_that_do_not_leave_are_pressed(daemon: Start, kind: str) -> None:
    fpm = daemon({"www": {"app": "stubborn:application"}}, started=False, global_={"process_control_timeout": "1s"})
    write_app(fpm, "stubborn", STUBBORN)
    fpm.start()
    (worker,) = fpm.workers("www")
    fpm.expect_log("has not exited in time", "exited on signal 15")
    with load(lambda found: found.bad.append(fpm.get("www", "/report", query="60"))):
        wait_until(lambda: "/report?60" in fpm.cli("status", "--full").stdout)
        if kind == "quit":
            fpm.signal(signal.SIGQUIT)
            reason = "stop"
        else:
            reload(fpm)
            reason = "reload"
        fpm.wait_log(rf'child {worker}, request "GET /report\?60" has not exited in time \({reason}\), sending SIGTERM')
    if kind == "quit":
        assert fpm.wait() == 0
    else:
        wait_until(lambda: worker not in fpm.workers("www"))
        assert fpm.get("www").status == 200


def test_workers_deaf_to_signals(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "deaf:application"}}, started=False, global_={"process_control_timeout": "1s"})
    source = STUBBORN.replace(
        'if environ["QUERY_STRING"]:',
        "for n in (signal.SIGTERM, signal.SIGQUIT): signal.signal(n, signal.SIG_IGN)\n    if environ['QUERY_STRING']:",
    )
    write_app(fpm, "deaf", source)
    fpm.start()
    (worker,) = fpm.workers("www")
    fpm.expect_log("exited on signal 9")
    with load(lambda found: found.bad.append(fpm.get("www", query="60"))):
        wait_until(lambda: "Running" in fpm.cli("status", "--full").stdout)
        fpm.signal(signal.SIGQUIT)
        fpm.wait_log(f"child {worker}, .*sending SIGTERM")
        fpm.wait_log(f"child {worker}, .*sending SIGKILL")
    assert fpm.wait() == 0
    assert not os.path.exists(f"/proc/{worker}")
