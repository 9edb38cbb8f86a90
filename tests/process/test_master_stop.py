"""The end of the master: signals and states, what finishes, what is killed and when, and that nothing is left."""

from __future__ import annotations

import os
import re
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.support import raw_fastcgi
from tests.support.fpm import Daemon, Settings, Start
from tests.support.held import HOLD, holding
from tests.support.pools import write_app
from tests.support.processes import lives, status_of
from tests.support.waiting import wait_until

QUICK = {"process_control_timeout": "2s"}
STUBBORN = """
import signal, threading
def application(environ, start_response):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    threading.Event().wait()
"""
LONG = "600"
"""Seconds of a request that is cut off."""
HANG = "import threading\nthreading.Event().wait()\n"
ONDEMAND: Settings = {"pm": "ondemand", "pm.process_idle_timeout": "1h"}
PARENT = """
import subprocess
def application(environ, start_response):
    child = subprocess.Popen(["sleep", environ["QUERY_STRING"]])
    start_response("200 OK", [])
    return [str(child.pid).encode()]
"""


def busy(fpm: Daemon, pool: str, *, query: str = "", count: int = 1) -> list[Future[raw_fastcgi.Reply]]:
    """Requests in hand: returns when that many workers are active."""
    executor = ThreadPoolExecutor(count)
    futures = [executor.submit(fpm.get, pool, query=query) for _ in range(count)]
    executor.shutdown(wait=False)
    fpm.wait_active(pool, count)
    return futures


def ended(fpm: Daemon, family: list[psutil.Process]) -> None:
    """Assert that the master has ended well, and nothing of it is left."""
    assert fpm.wait() == 0
    assert fpm.log().endswith("NOTICE: exiting, bye-bye!\n")
    assert not [process for process in family if psutil.pid_exists(process.pid)]
    assert not fpm.pid_file.exists()
    assert [path.name for path in fpm.directory.iterdir() if path.is_socket()] == ["notify"]


def test_stop_waits_for_the_requests_in_hand_and_for_the_end(daemon: Start) -> None:
    slow = {"app": "slow:application", "pm.max_children": 2}
    fpm = daemon({"www": slow, "shop": {"pm": "ondemand"}, "fresh": {"preload": "no"}})
    family = fpm.processes()
    assert len(family) >= 5
    with holding(fpm, HOLD, HOLD) as requests:
        command = fpm.begin("stop")
        fpm.wait_log("stop requested on the control socket")
        fpm.wait_log("NOTICE: Finishing ...")
        found = fpm.cli("status", "www", "--format", "text")
        assert found.returncode == 0
        assert re.search(r"^total processes: +2$", found.stdout, re.MULTILINE)
        refused = fpm.cli("reload")
        assert refused.returncode == 1
        assert "the master is stopping" in refused.stderr
        for pool in ("www", "shop", "fresh"):
            with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
                fpm.get(pool)
        assert command.poll() is None
    said, complaints = command.communicate(timeout=60)
    assert (said, re.sub(r"^waiting for 2 requests \(.*\)\n", "", complaints), command.returncode) == ("", "", 0)
    assert not psutil.pid_exists(fpm.pid) or psutil.Process(fpm.pid).status() == psutil.STATUS_ZOMBIE
    assert [request.result(0).status for request in requests] == [200, 200]
    ended(fpm, family)


def test_a_request_that_waits_on_a_kept_connection_is_answered(daemon: Start) -> None:
    """It comes while all workers are busy, so that each of them leaves after the request that it has."""
    pools = {"one": 1, "two": 2}
    fpm = daemon({pool: {"app": "held:application", "pm.max_children": workers} for pool, workers in pools.items()})
    hold = fpm.apps / "hold"
    with ExitStack() as stack:
        kept, busy = {}, {}
        for pool, workers in pools.items():
            kept[pool] = stack.enter_context(raw_fastcgi.Wire(fpm.address(pool)))
            kept[pool].send(raw_fastcgi.request_bytes(raw_fastcgi.web_params("/nap"), flags=raw_fastcgi.KEEP_CONN))
            assert kept[pool].read_reply().ended
            busy[pool] = [stack.enter_context(raw_fastcgi.Wire(fpm.address(pool))) for _ in range(workers)]
        hold.touch()
        for pool in pools:
            for number, wire in enumerate(busy[pool], 1):
                wire.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params("/nap")))
                fpm.wait_active(pool, number)
            kept[pool].send(raw_fastcgi.request_bytes(raw_fastcgi.web_params("/nap"), flags=raw_fastcgi.KEEP_CONN))
        fpm.signal(signal.SIGQUIT)
        fpm.wait_log("Finishing")
        hold.unlink()
        for pool, workers in pools.items():
            assert [wire.read_reply().body for wire in (*busy[pool], kept[pool])] == [b"done"] * (workers + 1), pool
            assert kept[pool].at_end(), pool
    assert fpm.wait() == 0


def test_stop_now_lets_nothing_finish(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "slow:application"}})
    (request,) = busy(fpm, "www", query=LONG)
    assert fpm.cli("stop", "--now").returncode == 0
    assert not request.result(60).ended
    assert fpm.wait() == 0


def test_an_interrupt_ends_it_at_once(daemon: Start) -> None:
    slow = {"app": "slow:application", "pm.max_children": 3}
    fpm = daemon({"www": slow, "shop": ONDEMAND, "fresh": {"preload": "no"}})
    assert fpm.get("shop").status == 200
    (request,) = busy(fpm, "www", query=LONG)
    family = fpm.processes()
    assert len(family) >= 8
    fpm.signal(signal.SIGINT)
    ended(fpm, family)
    assert "NOTICE: Terminating ..." in fpm.log()
    assert not request.result(60).ended


def test_a_second_signal_makes_it_faster(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "slow:application"}}, global_={"process_control_timeout": "60s"})
    busy(fpm, "www", query=LONG)
    fpm.signal(signal.SIGQUIT)
    fpm.wait_log("Finishing")
    fpm.signal(signal.SIGTERM)
    assert fpm.wait() == 0
    assert "Terminating ..." in fpm.log()


def wait_deaf(pids: list[int]) -> None:
    """Wait until the stubborn ones ignore the signals; a request is in hand before that."""
    deaf = 1 << signal.SIGTERM - 1 | 1 << signal.SIGQUIT - 1
    wait_until(lambda: all(int(status_of(pid)["SigIgn"], 16) & deaf == deaf for pid in pids))


def stop_two(fpm: Daemon, pool: str) -> list[int]:
    """Stop a worker and the template of a pool by SIGSTOP; the pids of all its processes."""
    workers, (template,) = fpm.workers(pool), fpm.processes(f"template {pool}")
    for pid in (workers[0], template.pid):
        os.kill(pid, signal.SIGSTOP)
    return [*workers, template.pid]


def test_what_does_not_leave_after_sigterm_is_killed(daemon: Start) -> None:
    """SIGQUIT after SIGTERM changes nothing."""
    pools: dict[str, Settings] = {
        "stubborn": {"app": "stubborn:application"},
        "stopped": {"pm.max_children": 2},
        "idle": {},
    }
    fpm = daemon(pools, global_={**QUICK, "log_level": "debug"}, started=False)
    write_app(fpm, "stubborn", STUBBORN)
    fpm.start()
    busy(fpm, "stubborn")
    wait_deaf(fpm.workers("stubborn"))
    fpm.expect_log("has not exited in time", "exited on signal", "in an unknown way", "SIGKILL", "SIGTERM")
    stop_two(fpm, "stopped")
    assert fpm.ask("status")["ok"]
    assert fpm.get("idle").status == 200
    family = fpm.processes()
    fpm.signal(signal.SIGTERM)
    fpm.wait_log("Terminating")
    fpm.signal(signal.SIGQUIT)
    fpm.wait_log("not switching to 'finishing' state, because already in 'terminating' state")
    assert fpm.wait() == 0
    assert not [process for process in family if psutil.pid_exists(process.pid)]


def test_what_does_not_finish_in_time_is_terminated_and_then_killed(daemon: Start) -> None:
    pools: dict[str, Settings] = {
        "slow": {"app": "slow:application"},
        "stubborn": {"app": "stubborn:application", "pm.max_children": 2},
        "stopped": {"pm.max_children": 2},
    }
    fpm = daemon(pools, global_=QUICK, started=False)
    write_app(fpm, "stubborn", STUBBORN)
    fpm.start()
    (request,) = busy(fpm, "slow", query=LONG)
    busy(fpm, "stubborn", count=2)
    (slow,), stubborn, stopped = fpm.workers("slow"), fpm.workers("stubborn"), stop_two(fpm, "stopped")
    wait_deaf(stubborn)
    fpm.expect_log("has not exited in time", "exited on signal", "in an unknown way")
    assert fpm.ask("status")["ok"]
    fpm.signal(signal.SIGQUIT)
    assert fpm.wait() == 0
    assert not request.result(60).ended
    log = fpm.log()
    assert re.search(rf"child {slow}, request \"GET /\?{LONG}\" has not exited in time \(stop\), sending SIGTERM", log)
    assert re.search(rf"child {slow} exited on signal 15", log)
    assert re.findall(rf"child {slow}.* sending (\w+)", log) == ["SIGTERM"], log
    for pid in stubborn:
        assert re.findall(rf"child {pid}.* sending (\w+)", log) == ["SIGTERM", "SIGKILL"], log
        assert re.search(rf"child {pid} exited on signal 9 \(SIGKILL\)", log)
    assert not [pid for pid in stopped if psutil.pid_exists(pid)]


def test_a_template_that_hangs_in_its_import_does_not_hold_up_the_stop(daemon: Start) -> None:
    fpm = daemon({"www": {}, "hung": {"app": "hang:application"}}, started=False)
    write_app(fpm, "hang", HANG)
    fpm.start(ready=False)
    wait_until(lambda: fpm.processes("template hung") and fpm.workers("www"))
    fpm.signal(signal.SIGQUIT)
    assert fpm.wait() == 0


def test_workers_finish_and_leave_when_the_master_is_killed(daemon: Start) -> None:
    """What it leaves is known for no daemon, and replaced by the next."""
    fpm = daemon({"www": {"app": "slow:application", "pm.max_children": 2}, "idle": {}})
    with holding(fpm, HOLD) as (request,):
        family = fpm.processes()
        fpm.signal(signal.SIGKILL)
        assert fpm.wait() == -signal.SIGKILL
    assert request.result().status == 200
    wait_until(lambda: not any(map(lives, family)), message="they outlive their master")
    for command in ("status", "stop"):
        found = fpm.cli(command)
        assert found.returncode == 1
        assert "pyfpm is not running with this configuration" in found.stderr
    fpm.start()
    assert fpm.get("www", query="0").status == 200


MASK_ALL = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_the_signals_of_a_masked_parent_arrive(daemon: Start) -> None:
    """And children of applications, orphaned by a worker's death, come to the master, which buries them."""
    fpm = daemon({"www": {"app": "parent:application"}}, started=False)
    write_app(fpm, "parent", PARENT)
    fpm.start(wrapper=("/usr/bin/python3", "-c", MASK_ALL))
    (worker,) = fpm.workers("www")
    mask = re.search(r"^SigBlk:\t(\w+)$", Path(f"/proc/{worker}/status").read_text(), re.MULTILINE)
    assert mask is not None
    assert int(mask[1], 16) == 0
    pid = int(fpm.get("www", query="0.2").body)
    fpm.expect_log(r"exited on signal 9")
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(pid))
    fpm.wait_workers("www", 1)
    fpm.signal(signal.SIGQUIT)
    assert fpm.wait() == 0


def test_a_storm_of_signals(daemon: Start) -> None:
    fpm = daemon({"www": {"pm.max_children": 4}})
    stop = threading.Event()

    def kill_workers() -> None:
        for _ in range(40):
            if stop.is_set():
                return
            fpm.signal(signal.SIGUSR1)
            for pid in fpm.workers("www")[:1]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def ask() -> bytes:
        """A request may be in the hands of a worker that is killed."""
        try:
            return fpm.get("www").stdout
        except OSError:
            return b""

    fpm.expect_log("exited on signal 9", "has failed", r"\[pool www\]")
    thread = threading.Thread(target=kill_workers)
    thread.start()
    try:
        replies = [ask() for _ in range(20)]
    finally:
        stop.set()
        thread.join()
    assert any(b"Hello" in reply for reply in replies)
    fpm.wait_workers("www", 4)
    assert fpm.get("www").status == 200
