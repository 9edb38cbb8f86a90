"""Stacks where ptrace is forbidden, and in whose name they are taken where it is not. Each reason is a real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.process.test_master_user import owned, run_as
from tests.support.fpm import POOL_USER, Daemon, Start
from tests.support.held import holding
from tests.support.traces import functions, look, traced
from tests.support.waiting import wait_until

SUPPORT = Path(__file__).parents[1] / "support"
NO_PTRACE = (sys.executable, str(SUPPORT / "no_ptrace.py"), "ptrace")
NEITHER = (*NO_PTRACE[:2], "both")
NO_CAPABILITY = ("/usr/bin/setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--")
GOOD = "NOTICE: stacks of slow requests are read by ptrace"
WANTS = {"app": "held:application", "request_slowlog_timeout": "60s", "slowlog": "slow.log"}
HOLD = """
import ctypes, sys
assert ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), None, None) == 0  # PTRACE_SEIZE
print("seized", flush=True)
sys.stdin.read()
"""


def begin(daemon: Start, wrapper: tuple[str, ...], **settings: object) -> Daemon:
    return daemon({"www": {**WANTS, **settings}}, started=False).start(wrapper=wrapper)


def test_under_a_seccomp_filter(daemon: Start) -> None:
    """Every stack is the worker's own account, whatever it does, and where there is none the reasons are told."""
    fpm = begin(daemon, NO_PTRACE)
    fpm.wait_log(r"WARNING: \[pool www\] not by ptrace: a seccomp filter forbids it; .*processes write their stacks")
    for path, place in (("/nap", "nap"), ("/lock", "wait_for_lock"), ("/gil", "keep_the_gil")):
        entry = look(fpm, path, place=place)
        assert functions(entry)[:2] == [place, "application"]
        assert (entry["how"], entry["stage"]) == ("faulthandler", "running")
        assert entry["note"].startswith("not by ptrace: a seccomp filter forbids it")
        assert entry["threads"][0]["frames"][0]["file"] == str(fpm.apps / "held.py")
        assert entry["threads"][0]["frames"][0]["line"] > 0
    many = look(fpm, "/threads", place="nap")
    assert many["threads"][0]["tid"] == many["pid"]
    others = {thread["tid"]: [frame["function"] for frame in thread["frames"]] for thread in many["threads"][1:]}
    assert len(others) == 3
    assert all("spin" in names for names in others.values())
    template = traced(fpm, str(*fpm.templates("www")))[0]
    assert "run" in functions(template)
    worker = fpm.workers("www")
    for path, reason in (("/block", "its first thread blocks signals"), ("/take", "it does not catch signals")):
        entry = look(fpm, path)
        assert (entry["how"], entry["threads"]) == ("", [])
        assert "seccomp" in entry["error"]
        assert reason in entry["error"]
    assert fpm.workers("www") == worker, "a signal that nobody catches would have killed it"


def test_the_fallback_takes_nothing_from_the_application(daemon: Start) -> None:
    """Sleeps have their whole length, nothing is interrupted (PEP 475), and an upgrade keeps it all."""
    fpm = begin(daemon, NEITHER, **{"pm.max_children": 12})
    fpm.wait_log(r"WARNING: \[pool www\] not by ptrace: a seccomp filter forbids it; .*processes write their stacks")
    with holding(fpm, *["/nap"] * 11):
        wait_until(lambda: [functions(one)[:1] for one in traced(fpm, "www")] == [["nap"]] * 11)
        assert fpm.ask("upgrade")["ok"]
        after = wait_until(
            lambda: [e for e in [traced(fpm, "www")] if [functions(one)[:1] for one in e] == [["nap"]] * 11]
        )
        assert {one["how"] for one in after[0]} == {"faulthandler"}
    with ThreadPoolExecutor(3) as asking:
        asked = [asking.submit(traced, fpm, "www", idle=True) for _ in range(3)]
        reply = fpm.get("www", "/measure")
    assert float(reply.body) >= 1.0
    assert [len(one.result()) for one in asked] == [12] * 3


def test_a_process_that_is_traced_already(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "held:application"}})
    worker = fpm.workers("www")[0]
    command = [sys.executable, "-c", HOLD, str(worker)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "seized\n"
        done = fpm.cli("trace", str(worker))
        assert done.returncode == 1
        assert f"+++ dump failed: it is already traced by pid {other.pid} (python" in done.stdout
        other.communicate("", timeout=60)
    assert "WorkerLoop.run" in functions(traced(fpm, str(worker))[0])
    assert fpm.get("www", "/measure").status == 200


@pytest.mark.root
def test_root_without_the_capability(daemon: Start) -> None:
    """As in most containers: the tracer becomes the pool's user."""
    fpm = begin(daemon, NO_CAPABILITY)
    fpm.wait_log(GOOD)
    tested = fpm.cli("test", wrapper=NO_CAPABILITY)
    assert (tested.returncode, tested.stderr.count(GOOD)) == (0, 1)
    assert look(fpm, "/nap", place="nap")["how"] == "ptrace"
    hidden = look(fpm, "/hide", place="hide")
    assert hidden["how"] == "faulthandler"
    assert "not by ptrace: the process is not dumpable" in hidden["note"]
    assert "process.dumpable = yes" in hidden["note"]


@pytest.mark.root
def test_a_daemon_of_a_user(daemon: Start) -> None:
    fpm = owned(daemon({"www": WANTS}, started=False))
    os.chmod(fpm.directory / "notify", 0o666)
    fpm.start(wrapper=run_as(POOL_USER))
    fpm.wait_log(GOOD)
    assert look(fpm, "/nap", place="nap")["how"] == "ptrace"
    tested = fpm.cli("test", wrapper=run_as(POOL_USER))
    assert (tested.returncode, tested.stderr.count(GOOD)) == (0, 1)


def test_what_test_says(daemon: Start) -> None:
    """A note and no mistake; nothing at all where no pool wants stacks."""
    fpm = daemon({"www": WANTS, "shop": WANTS, "calm": {}}, started=False)
    refused = fpm.cli("test", wrapper=NO_PTRACE)
    assert refused.returncode == 0, refused.stderr
    warnings = [line for line in refused.stderr.splitlines() if line.startswith("WARNING")]
    assert len(warnings) == 1
    assert re.match(
        r"WARNING: \[pool www, shop\] stacks of slow requests cannot be read by ptrace: a seccomp", warnings[0]
    )
    assert "test is successful" in refused.stderr
    fpm.configure({"calm": {}})
    assert "stacks" not in fpm.cli("test", wrapper=NO_PTRACE).stderr
