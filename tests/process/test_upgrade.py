"""`pyfpm upgrade`: the master's program is exchanged, and nobody notices."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from importlib.metadata import version
from pathlib import Path

import psutil

from tests.support import raw_fastcgi as raw
from tests.support.waiting import wait_until


def test_everything_stays_but_the_program(daemon):
    ondemand = {"pm": "ondemand", "pm.process_idle_timeout": "10m"}
    fpm = daemon({"www": {"pm.max_children": 2, "pm.status_path": "/status"}, "od": ondemand})
    first = fpm.wait_workers("www", 2)
    assert fpm.get("www").status == 200
    assert fpm.get("od").status == 200
    asleep = fpm.workers("od")
    pid, begun = fpm.pid, psutil.Process(fpm.pid).create_time()
    for _ in range(3):
        done = fpm.cli("upgrade")
        assert (done.returncode, done.stderr) == (0, f"pyfpm {version('python-fpm')} is running\n")
        fpm.wait_notify("READY=1")
    assert fpm.pid == pid
    assert psutil.Process(pid).create_time() == begun
    assert (fpm.workers("www"), fpm.workers("od")) == (first, asleep)
    assert fpm.get("www").status == 200
    page = fpm.get("www", "/status").body.decode()
    assert "accepted conn:        3\n" in page  # two before, and the status itself
    assert len(fpm.log().split("upgraded to pyfpm")) == 4


def test_descriptors_do_not_grow(daemon):
    fpm = daemon({"www": {"pm.max_children": 2}})
    fpm.wait_workers("www", 2)
    assert fpm.cli("upgrade").returncode == 0
    with fpm.no_descriptor_leak():
        for _ in range(3):
            assert fpm.cli("upgrade").returncode == 0


def test_no_request_is_lost(daemon):
    fpm = daemon({"www": {"pm.max_children": 3}, "slow": {"app": "slow:application", "pm.max_children": 2}})
    fpm.wait_workers("www", 3)
    stop, failures, answered = threading.Event(), [], []

    def client() -> None:
        end = time.monotonic() + 30
        while not stop.is_set() and time.monotonic() < end:
            try:
                reply = fpm.get("www")
                if reply.status != 200:
                    failures.append(reply.status)
            except OSError as error:
                failures.append(error)
            answered.append(1)

    slow: list[int] = []
    waiting = threading.Thread(target=lambda: slow.append(fpm.get("slow", query="2.5").status))
    clients = [threading.Thread(target=client) for _ in range(3)]
    for thread in (waiting, *clients):
        thread.start()
    wait_until(lambda: len(answered) > 50)
    for _ in range(3):
        assert fpm.cli("upgrade").returncode == 0
        count = len(answered)
        wait_until(lambda count=count: len(answered) > count + 20)
    stop.set()
    for thread in (waiting, *clients):
        thread.join()
    assert failures == []
    assert slow == [200]


def test_the_new_program_does_all_that_the_old_one_did(daemon):
    fpm = daemon({"www": {"pm.max_children": 2, "app": "noisy:application"}})
    fpm.wait_workers("www", 2)
    assert fpm.cli("upgrade").returncode == 0
    # a crash is replaced, and its exit status known
    victim = fpm.workers("www")[0]
    os.kill(victim, signal.SIGKILL)
    fpm.expect_log("exited on signal 9", "said into")
    fpm.wait_log(rf"child {victim} exited on signal 9 \(SIGKILL\)")
    workers = fpm.wait_workers("www", 2)
    # the template of before the upgrade still forks; a reload makes a new one
    (template,) = fpm.templates("www")
    assert fpm.cli("reload").returncode == 0
    wait_until(lambda: not set(workers) & set(fpm.workers("www")))
    wait_until(lambda: template not in fpm.templates("www"))
    fpm.signal(signal.SIGUSR1)
    fpm.wait_log("log file re-opened")


def test_pools_get_the_limits_that_the_first_master_was_started_with(daemon):
    """Each master raises its own as far as it may."""
    fpm = daemon({"www": {}}, started=False)
    prlimit = shutil.which("prlimit")
    assert prlimit is not None, "it is part of util-linux"
    fpm.start(wrapper=[prlimit, "--nofile=700:5000"])
    assert open_files(fpm.pid) == ["5000", "5000"]
    for _ in range(2):
        assert fpm.cli("upgrade").returncode == 0
        (former,) = fpm.workers("www")
        assert fpm.cli("reload").returncode == 0
        wait_until(lambda former=former: former not in fpm.workers("www"))
        (worker,) = fpm.workers("www")
        assert open_files(worker) == ["700", "5000"]


def open_files(pid: int) -> list[str]:
    """RLIMIT_NOFILE of a process, soft and hard."""
    (line,) = [
        line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max open files")
    ]
    return line.split()[3:5]


def test_workers_whose_template_is_gone_are_kept(daemon):
    fpm = daemon({"www": {"pm.max_children": 2}})
    workers = fpm.wait_workers("www", 2)
    fpm.expect_log("template .* exited on signal 9", "exited on signal 9")
    (template,) = fpm.templates("www")
    os.kill(template, signal.SIGKILL)
    fpm.wait_log("a new template is started")
    wait_until(lambda: fpm.templates("www") not in ([], [template]))
    assert fpm.cli("upgrade").returncode == 0
    assert fpm.workers("www") == workers
    os.kill(workers[0], signal.SIGKILL)
    fpm.wait_log(rf"child {workers[0]} exited on signal 9")
    fpm.wait_workers("www", 2)


def test_a_failed_pool_is_tried_again(daemon):
    fpm = daemon({"www": {}, "bad": {"app": "broken_import:application"}})
    fpm.expect_log(r"\[pool bad\]")
    assert raw.get(fpm.address("bad")).status == 503
    assert fpm.cli("upgrade").returncode == 0
    wait_until(lambda: raw.get(fpm.address("bad")).status == 503)
    assert "has failed" in fpm.cli("status").stderr
    (fpm.apps / "broken_import.py").write_text("from hello import application\n")
    wait_until(lambda: raw.get(fpm.address("bad")).status == 200)


def test_an_edited_configuration_is_refused(daemon):
    fpm = daemon({"www": {}})
    fpm.configure({"www": {"pm.max_children": 2}})
    fpm.expect_log("upgrade failed", r"\[www\] pm")
    done = fpm.cli("upgrade")
    assert done.returncode == 1
    assert "run `pyfpm reload` first" in done.stderr
    fpm.configure({"www": {"pm": "sometimes"}})
    done = fpm.cli("upgrade")
    assert done.returncode == 1
    assert "[www] pm: " in done.stderr
    assert fpm.get("www").status == 200


def test_in_the_background(daemon):
    fpm = daemon({"www": {}}, started=False)
    log = fpm.directory / "error.log"
    fpm.configure({"www": {}}, global_={"error_log": log})
    assert fpm.start_background().returncode == 0
    assert fpm.cli("upgrade").returncode == 0
    assert fpm.get("www").status == 200
    assert "upgraded to pyfpm" in log.read_text()


def test_stop_right_after(daemon):
    fpm = daemon({"www": {"pm.max_children": 2}})
    assert fpm.cli("upgrade").returncode == 0
    assert fpm.cli("stop").returncode == 0
    assert fpm.wait() == 0
