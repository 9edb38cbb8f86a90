"""Death certificates: one log line for each process that ends unasked, and the same in the status."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fpm.cgroups.places import directory_of, parse_membership, parse_mounts
from fpm.master.pool.death_report import LastWords
from tests.support.fpm import Daemon, Start
from tests.support.interpreter import interpreters
from tests.support.looking import fetch, read_metrics
from tests.support.pools import free_port, numbers
from tests.support.reloads import reload
from tests.support.waiting import wait_until

POOL = {"app": "dying:application", "pm.max_children": 2}
TAIL = r"respawned( in [\d.]+ s \(backoff, \d+ died early in a row\)| when the template is ready)?$"


def ring(fpm: Daemon) -> list[dict[str, Any]]:
    """The newest first."""
    deaths: list[dict[str, Any]] = fpm.figures("www")["deaths"]
    return deaths


def busy(fpm: Daemon, path: str) -> int:
    """The pid of the worker that has this request in hand; 0 if none has (yet)."""
    workers = numbers(fpm, "www")["processes"]
    return next((one["pid"] for one in workers if one["state"] == "Running" and one["request uri"].startswith(path)), 0)


def certificate(fpm: Daemon, pid: int) -> tuple[str, dict[str, Any]]:
    """The one line about the end of a worker, and its record."""
    wait_until(lambda: pid in [one["pid"] for one in ring(fpm)], message=f"no certificate of {pid}")
    fpm.expect_log(rf"child {pid} ")
    lines = [line for line in fpm.log().splitlines() if re.search(rf"child {pid} exited ", line)]
    assert len(lines) == 1, lines
    return lines[0], next(one for one in ring(fpm) if one["pid"] == pid)


def serving(fpm: Daemon) -> int:
    """The pid of a worker that answers now; others may be on their way."""

    def ask() -> int:
        reply = fpm.get("www")
        return int(reply.body) if reply.body else 0

    return wait_until(ask)


def ask_to_die(fpm: Daemon, path: str, query: str = "") -> int:
    """Have a worker end in its request; its pid."""
    known = {one["pid"] for one in ring(fpm)}
    serving(fpm)
    fpm.get("www", path, query=query)
    return wait_until(lambda: next((one["pid"] for one in ring(fpm) if one["pid"] not in known), 0))


@contextmanager
def sleeping(fpm: Daemon, seconds: str) -> Iterator[int]:
    """A client whose request sleeps in the worker of this pid; nobody reads the answer."""
    thread = threading.Thread(target=lambda: fpm.get("www", "/sleep", query=seconds, timeout=60), daemon=True)
    thread.start()
    yield wait_until(lambda: busy(fpm, "/sleep"))
    thread.join()


def test_each_end_has_its_certificate(daemon: Start) -> None:
    pool = {**POOL, "rlimit_core": "unlimited", "process.dumpable": True}
    fpm = daemon({"www": pool}, started=False)
    fpm.apps.chmod(0o777)  # for the core dumps
    fpm.expect_log("said into stderr")
    fpm.start()
    _exit_code(fpm)
    _crashes(fpm)
    _killed_from_outside(fpm)
    # The thread's SystemExit is the thread's end, not the worker's.
    count = len(ring(fpm))
    assert fpm.get("www", "/thread").status == 200
    assert len(ring(fpm)) == count
    figures = fpm.figures("www")
    assert [figures[f"deaths by {how}"] for how in ("exit", "signal", "kill", "oom", "timeout")] == [2, 3, 2, 0, 0]
    kept = ring(fpm)
    text = fpm.cli("status", "www", "--full", "--format", "text").stdout
    shown = re.findall(r"^death: +\S+ \+0000 pid (\d+) (?:on|with) ", text, re.MULTILINE)
    assert [int(pid) for pid in shown] == [one["pid"] for one in kept]
    assert fpm.cli("upgrade").returncode == 0
    assert ring(fpm) == kept


def _exit_code(fpm: Daemon) -> None:
    line, death = certificate(fpm, ask_to_die(fpm, "/exit", "3"))
    head = r"WARNING: \[pool www\] child \d+ exited with code 3 after \d+\.\d{6} seconds from start; "
    request = r'request "GET /exit\?3" for [\d.]+ m?s \(script dying:application\); '
    calls = r"in leave \(\S*/dying\.py:\d+\), called by application \(\S*/dying\.py:\d+\)"
    assert re.search(
        head + request + rf'\d requests? served; peak memory [\d.]+ \w+; {calls}; last output "the last words"; {TAIL}',
        line,
    )
    assert (death["code"], death["signal"], death["who"], death["retire reason"]) == (3, "", "worker", "")
    assert (death["request"], death["request state"]) == ("GET /exit?3", "running")
    assert [call.partition(" ")[0] for call in death["stack"]] == ["leave", "application"]
    assert death["requests"] >= 1
    assert 2**20 < death["memory peak"] < 2**32
    assert line.endswith(death["next action"])
    line, _ = certificate(fpm, ask_to_die(fpm, "/exit", "0"))
    assert "WARNING: " in line, "a request was lost"


def _crashes(fpm: Daemon) -> None:
    line, death = certificate(fpm, ask_to_die(fpm, "/segfault"))
    assert "on signal 11 (SIGSEGV" in line
    assert '"Fatal Python error: Segmentation fault" in string_at (' in line
    assert re.search(r"called by segfault \(\S*/dying\.py:\d+\)", line)
    assert death["signal"] == "SIGSEGV"
    assert any("in application" in one for one in death["output"])
    assert not any(re.search("fpm/(template|worker)", one) for one in death["output"])
    line, death = certificate(fpm, ask_to_die(fpm, "/abort"))
    assert "on signal 6 (SIGABRT" in line
    assert ("core dumped" in line) == bool(death["core"]) == ("; core dump: " in line)
    # A place that a handler or the system's limits decide about is another machine's business.
    if Path("/proc/sys/kernel/core_pattern").read_text().strip() == "core":
        found = [path for path in fpm.apps.iterdir() if path.name.startswith("core")]
        assert [str(path) for path in found] == [death["core"]]
    line, death = certificate(fpm, ask_to_die(fpm, "/background"))
    assert re.search(r'; in background work in dying\.crash_later for [\d.]+ m?s after request "GET /background"', line)
    assert (death["request state"], death["task"]) == ("after the response", "dying.crash_later")


def _killed_from_outside(fpm: Daemon) -> None:
    pid = serving(fpm)
    wait_until(lambda: fpm.figures("www")["active processes"] == 0)
    os.kill(pid, signal.SIGKILL)
    line, death = certificate(fpm, pid)
    assert re.search(r'exited on signal 9 \(SIGKILL\) .*; idle, last request "GET /" ended [\d.]+ m?s before ', line)
    assert (death["request"], death["request state"]) == ("GET /", "finished")
    assert death["oom"] in ("no", "unknown")
    assert ("sent by a process, the application itself or another" in line) == (death["oom"] == "no")
    serving(fpm)
    with sleeping(fpm, "30") as pid:
        os.kill(pid, signal.SIGKILL)
    line, death = certificate(fpm, pid)
    assert re.search(r'; request "GET /sleep\?30" for [\d.]+ m?s \(script dying:application\); ', line)
    assert death["request state"] == "running"


def test_templates_and_responders_have_theirs(daemon: Start) -> None:
    fpm = daemon({"www": POOL})
    (template,) = [process.pid for process in fpm.processes("template www")]
    fpm.expect_log(f"template {template} exited")
    os.kill(template, signal.SIGKILL)
    death = wait_until(lambda: next(iter(ring(fpm)), None))
    assert (death["who"], death["pid"], death["signal"]) == ("template", template, "SIGKILL")
    assert death["next action"].startswith("its workers serve on and a new template is started")
    line = fpm.wait_log(f"template {template} exited on signal 9 .SIGKILL. after .*").group()
    assert line.endswith(death["next action"])
    assert fpm.figures("www")["deaths by kill"] == 0  # which counts workers


CRASH = """
import ctypes, faulthandler, threading, time
faulthandler.enable()
threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
def crash():
    ctypes.string_at(0)
crash()
"""


@pytest.mark.parametrize("python", interpreters())
def test_what_each_python_says_of_a_crash(python: str) -> None:
    done = subprocess.run([python, "-c", CRASH], stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    words = LastWords()
    for line in done.stderr.splitlines():
        words.add(line, 1.0)
    first, *calls = words.of_end(1.0, by_exit=False)
    assert first == "Fatal Python error: Segmentation fault"
    assert [call.rpartition(" in ")[2] for call in calls] == ["string_at", "crash", "<module>"]


# -------------------------------------------------------------------------------------------------- memory


def test_memory_limit_and_the_stop_deadline(daemon: Start) -> None:
    settings = {**POOL, "pm.max_memory": "64M", "preload": "yes"}
    fpm = daemon({"www": settings}, global_={"process_control_timeout": "1s"})
    fpm.expect_log(r"pm\.max_memory", "said into")
    first = [int(fpm.get("www", "/grow", query="25").body) for _ in range(6)]
    gone = fpm.wait_log(
        r"NOTICE: \[pool www\] child (\d+) has used \S+ MiB of memory, more than pm.max_memory \(64\.0 MiB\); "
        r"it is replaced after \d+ requests"
    )
    assert int(gone[1]) in first
    wait_until(lambda: fpm.figures("www")["recycled memory"] >= 1)
    fpm.wait_log(rf"NOTICE: \[pool www\] child {gone[1]} exited with code 0 after")
    assert ring(fpm) == []
    # Less than the application itself needs: no worker leaves, and it is said once.
    fpm.configure({"www": {**settings, "pm.max_memory": "4M"}}, global_={"process_control_timeout": "1s"})
    reload(fpm, changed=True)
    fpm.wait_log(
        r"WARNING: \[pool www\] child \d+ uses \S+ MiB of memory right after its start, more than pm.max_memory"
    )
    # A worker that had exceeded the former limit may still have been on its way out during the reload.
    recycled = fpm.log().count("it is replaced after")
    wait_until(lambda: fpm.figures("www")["recycled memory"] == recycled)
    pids = {int(fpm.get("www").body) for _ in range(40)}
    assert len(pids) <= 2
    assert fpm.figures("www")["recycled memory"] == recycled
    assert fpm.log().count("right after its start") == 1
    _ended_at_the_deadline(fpm)


def _ended_at_the_deadline(fpm: Daemon) -> None:
    fpm.expect_log("has not exited in time")
    with sleeping(fpm, "30") as pid:
        fpm.configure({"www": {**POOL, "env[X]": "another"}}, global_={"process_control_timeout": "1s"})
        reload(fpm)
        line, death = certificate(fpm, pid)
    assert "on signal 15 (SIGTERM)" in line
    assert "; terminated by the master (reload); " in line
    assert (death["killed by master"], death["retire reason"], death["request"]) == (True, "reload", "GET /sleep?30")
    assert death["next action"] == "replaced by the new generation"
    assert "; no stack: " in line or "the stack is in the error log; " in line, "no kill is silent"
    assert death["stack"]
    assert fpm.figures("www")["deaths by timeout"] == 1


@contextmanager
def memory_cgroup(megabytes: int) -> Iterator[Path]:
    """A cgroup with a limit below that of the tests; skips where none can be made."""
    membership = parse_membership(Path("/proc/self/cgroup").read_text())
    mounts = parse_mounts(Path("/proc/self/mountinfo").read_text())
    own = directory_of(membership, mounts) if membership is not None else None
    if membership is None or own is None:
        pytest.skip("no memory cgroup can be seen here")
    group = Path(own) / f"pyfpm-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"cannot make a cgroup: {error}")
    try:
        version, limit = membership.version, str(megabytes << 20)
        name = "memory.max" if version == 2 else "memory.limit_in_bytes"
        if not (group / name).exists():
            pytest.skip("this cgroup hands on no memory controller")
        (group / name).write_text(limit)
        for swap in ("memory.swap.max", "memory.memsw.limit_in_bytes"):
            if (group / swap).exists():
                (group / swap).write_text("0" if version == 2 else limit)
        yield group
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def test_out_of_memory_is_told_apart(daemon: Start) -> None:
    where = free_port()
    with memory_cgroup(160) as group:
        fpm = daemon({"www": POOL}, global_={"status_listen": f"127.0.0.1:{where}"}, started=False)
        fpm.start(wrapper=["/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"])
        line, death = certificate(fpm, ask_to_die(fpm, "/all"))
        assert re.search(
            r"exited on signal 9 \(SIGKILL\) after \d+\.\d{6} seconds from start; out of memory: killed by the kernel "
            r'\(cgroup limit 160 MiB, by the (kernel log|cgroup)\); request "GET /all" for ',
            line,
        )
        assert death["oom"] == "yes"
        assert death["memory peak"] > 64 << 20
        said = fpm.cli("explain", "www").stdout
        killed = rf"the kernel killed worker {death['pid']} for lack of memory \(cgroup limit 160 MiB, by the [a-z ]+\)"
        assert re.search(rf"^out-of-memory: {killed}, at .* MiB, while it served GET /all ", said, re.MULTILINE)
        # Another SIGKILL in the same cgroup is none of it.
        pid = serving(fpm)
        os.kill(pid, signal.SIGKILL)
        line, death = certificate(fpm, pid)
        assert death["oom"] == "no"
        assert "sent by a process, the application itself or another" in line
        figures = fpm.figures("www")
        assert (figures["deaths by oom"], figures["deaths by kill"]) == (1, 1)
        metrics = read_metrics(fetch(where, "/metrics").body)
        assert metrics["pyfpm_deaths_total", "www", "oom"] == 1
        assert metrics["pyfpm_deaths_total", "www", "kill"] == 1
        page = fetch(where, "/pool/www").body.decode()
        assert "out of memory: killed by the kernel (cgroup limit 160 MiB" in page
        fpm.signal(signal.SIGTERM)
        assert fpm.wait() == 0
