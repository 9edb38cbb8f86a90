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
from tests.support.fpm import Daemon, Start
from tests.support.held import HOLD, holding
from tests.support.waiting import wait_until

QUICK = {"process_control_timeout": "1s"}
STUBBORN = """
import signal, threading
def application(environ, start_response):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    threading.Event().wait()
"""
HANG = "import threading\nthreading.Event().wait()\n"


def busy(fpm: Daemon, pool: str, *, query: str = "", count: int = 1) -> list[Future[raw_fastcgi.Reply]]:
    """Requests in hand: returns when that many workers are active."""
    executor = ThreadPoolExecutor(count)
    futures = [executor.submit(fpm.get, pool, query=query) for _ in range(count)]
    executor.shutdown(wait=False)
    fpm.wait_active(pool, count)
    return futures


@pytest.mark.parametrize(
    ("number", "word"),
    [(signal.SIGTERM, "Terminating"), (signal.SIGINT, "Terminating"), (signal.SIGQUIT, "Finishing")],
)
def test_a_signal_ends_it_with_0(daemon: Start, number: int, word: str) -> None:
    fpm = daemon({"www": {"pm.max_children": 3}, "shop": {"pm": "ondemand"}, "fresh": {"preload": "no"}})
    assert fpm.get("www").status == 200
    family = [process.pid for process in fpm.processes()]
    assert len(family) >= 6
    fpm.signal(number)
    assert fpm.wait() == 0
    assert f"NOTICE: {word} ..." in fpm.log()
    assert fpm.log().endswith("NOTICE: exiting, bye-bye!\n")
    assert not [pid for pid in family if psutil.pid_exists(pid)]
    assert not fpm.pid_file.exists()
    assert [path.name for path in fpm.directory.iterdir() if path.is_socket()] == ["notify"]


def test_stop_waits_for_the_request_in_hand_and_for_the_end(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "slow:application", "pm.max_children": 2}})
    with holding(fpm, HOLD, HOLD) as requests:
        command = fpm.begin("stop")
        fpm.wait_log("stop requested on the control socket")
        fpm.wait_log("Finishing")
        assert command.poll() is None
    assert command.communicate(timeout=20) == ("", "")
    assert command.returncode == 0
    assert not psutil.pid_exists(fpm.pid) or psutil.Process(fpm.pid).status() == psutil.STATUS_ZOMBIE
    assert [request.result(0).status for request in requests] == [200, 200]
    assert fpm.wait() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_request_that_waits_on_a_kept_connection_is_answered(daemon: Start, workers: int) -> None:
    """It comes while all workers are busy, so that each of them leaves after the request that it has."""
    fpm = daemon({"www": {"app": "held:application", "pm.max_children": workers}})
    hold = fpm.apps / "hold"
    with ExitStack() as stack:
        kept = stack.enter_context(raw_fastcgi.Wire(fpm.address("www")))
        kept.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params("/nap"), flags=raw_fastcgi.KEEP_CONN))
        assert kept.read_reply().ended
        busy = [stack.enter_context(raw_fastcgi.Wire(fpm.address("www"))) for _ in range(workers)]
        hold.touch()
        for number, wire in enumerate(busy, 1):
            wire.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params("/nap")))
            fpm.wait_active("www", number)
        kept.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params("/nap"), flags=raw_fastcgi.KEEP_CONN))
        fpm.signal(signal.SIGQUIT)
        fpm.wait_log("Finishing")
        hold.unlink()
        assert [wire.read_reply().body for wire in (*busy, kept)] == [b"done"] * (workers + 1)
        assert kept.at_end()
    assert fpm.wait() == 0


def test_stop_now_lets_nothing_finish(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "slow:application"}})
    (request,) = busy(fpm, "www", query="30")
    assert fpm.cli("stop", "--now").returncode == 0
    assert not request.result(1).ended
    assert fpm.wait() == 0


def test_status_of_a_master_that_is_finishing(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "slow:application"}})
    with holding(fpm, HOLD) as (request,):
        fpm.signal(signal.SIGQUIT)
        fpm.wait_log("Finishing")
        found = fpm.cli("status", "www")
        assert found.returncode == 0
        assert re.search(r"^total processes: +1$", found.stdout, re.MULTILINE)
        refused = fpm.cli("reload")
        assert refused.returncode == 1
        assert "the master is stopping" in refused.stderr
    assert request.result().status == 200


def test_new_clients_are_refused_at_once_while_it_finishes(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "slow:application"}})
    with holding(fpm, HOLD) as (request,):
        fpm.signal(signal.SIGQUIT)
        fpm.wait_log("Finishing")
        with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
            fpm.get("www")
    assert request.result().status == 200


def test_a_second_signal_makes_it_faster(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "slow:application"}}, global_={"process_control_timeout": "60s"})
    busy(fpm, "www", query="30")
    fpm.signal(signal.SIGQUIT)
    fpm.wait_log("Finishing")
    fpm.signal(signal.SIGTERM)
    assert fpm.wait() == 0
    assert "Terminating ..." in fpm.log()


def test_quit_after_term_changes_nothing(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "stubborn:application"}}, global_={**QUICK, "log_level": "debug"}, started=False)
    (fpm.apps / "stubborn.py").write_text(STUBBORN)
    fpm.start()
    busy(fpm, "www")
    fpm.expect_log("SIGKILL", "SIGTERM")
    fpm.signal(signal.SIGTERM)
    fpm.wait_log("Terminating")
    fpm.signal(signal.SIGQUIT)
    fpm.wait_log("not switching to 'finishing' state, because already in 'terminating' state")
    assert fpm.wait() == 0


def test_a_request_that_does_not_end_is_terminated_in_time(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "slow:application"}}, global_=QUICK)
    (request,) = busy(fpm, "www", query="30")
    fpm.expect_log(
        r"child \d+, request \"GET /\?30\" has not exited in time \(stop\), sending SIGTERM", "exited on signal 15"
    )
    fpm.signal(signal.SIGQUIT)
    assert fpm.wait() == 0
    assert not request.result(1).ended
    assert "sending SIGTERM" in fpm.log()
    assert "sending SIGKILL" not in fpm.log()


def test_an_application_that_ignores_signals_is_killed(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "stubborn:application", "pm.max_children": 2}}, global_=QUICK, started=False)
    (fpm.apps / "stubborn.py").write_text(STUBBORN)
    fpm.start()
    busy(fpm, "www", count=2)
    workers = fpm.workers("www")
    fpm.expect_log("has not exited in time", "exited on signal", "in an unknown way")
    assert fpm.cli("stop").returncode == 0
    assert fpm.wait() == 0
    for pid in workers:
        found = re.findall(rf"child {pid}.* sending (\w+)", fpm.log())
        assert found == ["SIGTERM", "SIGKILL"], fpm.log()
        assert re.search(rf"child {pid} exited on signal 9 \(SIGKILL\)", fpm.log())


def test_a_template_that_hangs_in_its_import_does_not_hold_up_the_stop(daemon: Start) -> None:
    fpm = daemon({"www": {}, "hung": {"app": "hang:application"}}, started=False)
    (fpm.apps / "hang.py").write_text(HANG)
    fpm.start(ready=False)
    wait_until(lambda: fpm.processes("template hung") and fpm.workers("www"))
    fpm.signal(signal.SIGQUIT)
    assert fpm.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM])
def test_stopped_templates_and_workers_are_killed(daemon: Start, number: int) -> None:
    fpm = daemon({"www": {"pm.max_children": 2}, "shop": {}}, global_=QUICK)
    fpm.expect_log("has not exited in time", "exited on signal", "in an unknown way")
    workers, (template,) = fpm.workers("www"), fpm.processes("template www")
    for pid in (workers[0], template.pid):
        os.kill(pid, signal.SIGSTOP)
    assert fpm.cli("status").returncode == 0
    assert fpm.get("shop").status == 200
    fpm.signal(number)
    assert fpm.wait() == 0
    assert not [pid for pid in (*workers, template.pid) if psutil.pid_exists(pid)]


def test_children_of_applications_do_not_survive_as_zombies(daemon: Start) -> None:
    """An application's own child, orphaned by the worker's death, comes to the master, which buries it."""
    fpm = daemon({"www": {"app": "parent:application"}}, started=False)
    (fpm.apps / "parent.py").write_text(
        "import os, subprocess\n"
        "def application(environ, start_response):\n"
        "    child = subprocess.Popen(['sleep', environ['QUERY_STRING']])\n"
        "    start_response('200 OK', [])\n"
        "    return [str(child.pid).encode()]\n"
    )
    fpm.start()
    pid = int(fpm.get("www", query="0.2").body)
    (worker,) = fpm.workers("www")
    fpm.expect_log(r"exited on signal 9")
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(pid))
    fpm.wait_workers("www", 1)


def test_workers_finish_and_leave_when_the_master_is_killed(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "slow:application", "pm.max_children": 2}, "idle": {}})
    with holding(fpm, HOLD) as (request,):
        family = fpm.processes()
        fpm.signal(signal.SIGKILL)
        assert fpm.wait() == -signal.SIGKILL
    assert request.result().status == 200
    _, left = psutil.wait_procs(family, timeout=20)
    left = [process for process in left if process.status() != psutil.STATUS_ZOMBIE]
    assert not left, f"outlive their master: {[process.cmdline() for process in left]}"
    fpm.start()
    assert fpm.get("www", query="0").status == 200


def test_the_signals_of_a_masked_parent_arrive(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    script = (
        "import os, signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    fpm.start(wrapper=("/usr/bin/python3", "-c", script))
    mask = re.search(r"^SigBlk:\t(\w+)$", Path(f"/proc/{fpm.workers('www')[0]}/status").read_text(), re.MULTILINE)
    assert mask is not None
    assert int(mask[1], 16) == 0
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
