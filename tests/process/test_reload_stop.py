"""Stops are complete: requests in hand finish or are cut as asked, and nothing that an application started is left."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

import psutil
import pytest

from tests.support.fpm import Daemon, Start
from tests.support.held import HOLD, holding
from tests.support.pools import write_app
from tests.support.reloads import load, reload
from tests.support.waiting import wait_until

FAMILY = """
import os
import signal
from contextlib import ExitStack
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
    pools = {"www": {"app": "family:application", "pm.max_children": 2}}
    fpm = daemon({**pools, "slow": {"app": "slow:application", "pm.max_children": 2}}, started=False)
    write_app(fpm, "family", FAMILY)
    fpm.start()
    made = []
    for kind in KINDS:
        reply = fpm.get("www", query=kind)
        assert reply.status == 200, reply
        made.append(int(reply.body))
    assert all(psutil.pid_exists(pid) for pid in made)
    return fpm, made


def test_a_graceful_stop_lets_requests_finish_and_ends_grandchildren(daemon: Start) -> None:
    """A background job that a request has started is not a reload's business, but ends with the daemon."""
    fpm, made = start_family(daemon)
    fpm.expect_log("exited on signal 15")
    workers = fpm.workers("www")
    reload(fpm, "www")
    wait_until(lambda: not set(workers) & set(fpm.workers("www")))
    assert [pid for pid in made if psutil.pid_exists(pid)] == made
    with holding(fpm, HOLD, HOLD, pool="slow") as replies:
        fpm.signal(signal.SIGQUIT)
        fpm.wait_log("Finishing")
        with pytest.raises(OSError, match=r"refused|No such file"):
            fpm.get("slow")
    assert fpm.wait() == 0
    assert all(reply.result().ended and reply.result().body.isdigit() for reply in replies)
    assert [pid for pid in made if psutil.pid_exists(pid)] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_fast_stop_waits_for_nobody_and_ends_grandchildren(daemon: Start, number: signal.Signals) -> None:
    fpm, made = start_family(daemon)
    fpm.expect_log("exited on signal 15")
    with holding(fpm, HOLD, pool="slow") as (reply,):
        fpm.signal(number)
        assert fpm.wait() == 0
    assert not reply.result().ended
    assert [pid for pid in made if psutil.pid_exists(pid)] == []


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


DEAF_TOO = STUBBORN.replace(
    'if environ["QUERY_STRING"]:',
    "for n in (signal.SIGTERM, signal.SIGQUIT): signal.signal(n, signal.SIG_IGN)\n    if environ['QUERY_STRING']:",
)


def test_workers_that_do_not_leave_are_pressed(daemon: Start) -> None:
    """By a reload and by a stop; who is deaf to signals is killed."""
    pools = {name: {"app": f"{name}:application"} for name in ("stubborn", "deaf")}
    fpm = daemon(pools, started=False, global_={"process_control_timeout": "1s"})
    write_app(fpm, "stubborn", STUBBORN)
    write_app(fpm, "deaf", DEAF_TOO)
    fpm.start()

    def ask(pool: str, path: str) -> int:
        """Have the pool's only worker busy."""
        (worker,) = fpm.wait_workers(pool, 1)
        stack.enter_context(load(lambda found: found.bad.append(fpm.get(pool, path, query="60"))))
        wait_until(lambda: f"{path}?60" in {one["request uri"] for one in fpm.figures(pool)["processes"]})
        return worker

    def pressed(worker: int, path: str, reason: str) -> None:
        here = rf'child {worker}, request "GET {path}\?60"'
        fpm.wait_log(rf"{here} has not exited in time \({reason}\), sending SIGTERM")

    fpm.expect_log("has not exited in time", "exited on signal 15", "exited on signal 9")
    with ExitStack() as stack:
        worker = ask("stubborn", "/report")
        reload(fpm, "stubborn")
        pressed(worker, "/report", "reload")
        wait_until(lambda: worker not in fpm.workers("stubborn"))
        assert fpm.get("stubborn").status == 200
        worker, deaf = ask("stubborn", "/again"), ask("deaf", "/deaf")
        fpm.signal(signal.SIGQUIT)
        pressed(worker, "/again", "stop")
        pressed(deaf, "/deaf", "stop")
        fpm.wait_log(f"child {deaf}, .*sending SIGKILL")
        assert fpm.wait() == 0
    assert not os.path.exists(f"/proc/{deaf}")
