"""`pyfpm trace`: what runs now, on the terminal and for programs."""

from __future__ import annotations

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from tests.support.control import connect
from tests.support.fpm import Daemon, Start, title_of
from tests.support.held import holding
from tests.support.processes import children
from tests.support.traces import ask, functions, traced
from tests.support.waiting import wait_until

NOT_OURS = "is not a worker or template of this daemon"


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    """One daemon for the tests after which it runs on."""
    held: dict[str, object] = {"app": "held:application"}
    sizes = {"www": 4, "two": 2, "three": 3}
    pools = {name: {**held, "pm.max_children": size} for name, size in sizes.items()}
    made = shared_daemon(pools | {"calm": {"pm": "ondemand"}, "one": {}})
    for name, size in sizes.items():
        made.wait_workers(name, size)
    return made


def test_busy_workers_are_shown(fpm: Daemon) -> None:
    with holding(fpm, "/nap?first\x1b[2J", "/lock"):
        wait_placed(fpm)
        shown = fpm.cli("trace", "www")
        assert shown.returncode == 0, shown.stderr
        assert "\x1b" not in shown.stdout
        heads = re.findall(r"^\[\d\d-\w{3}-\d{4} [\d:]{8}\]  \[pool www\] pid (\d+)$", shown.stdout, re.MULTILINE)
        assert len(heads) == 2
        first, second = (part.splitlines() for part in shown.stdout.split("\n\n"))
        assert "request = GET /nap?first\\x1b[2J" in first
        assert "request = GET /lock" in second
        assert {"script_filename = held:application", "stage = running", "reason = trace"} <= set(first)
        assert any(re.fullmatch(r"age = \d+\.\d{6} s", line) for line in first)
        assert any(
            re.fullmatch(rf"\[0x[0-9a-f]+\] nap\(\) {re.escape(str(fpm.apps))}/held.py:\d+", line) for line in first
        )
        assert re.search(r"^pool www: 2 idle workers \(\d+ \d+\); --idle shows", shown.stderr, re.MULTILINE)

        nap, _ = wait_placed(fpm)
        assert (nap["method"], nap["uri"], nap["pool"], nap["how"]) == ("GET", "/nap?first\x1b[2J", "www", "ptrace")
        assert str(nap["pid"]) == heads[0]
        assert isinstance(nap["seconds"], float)
        assert nap["seconds"] > 0

        printed = fpm.cli("trace", "--json", "--depth=2", heads[0])
        (short,) = [json.loads(line) for line in printed.stdout.splitlines()]
        assert len(functions(short)) == 2
        assert len(traced(fpm)) == 3, "two that are busy, and the only one of its pool"
        _who_can_wait_looks_with_others(fpm)
        assert len(traced(fpm, "www", idle=True)) == 4
        quiet = fpm.cli("trace", "calm")
        assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "pool calm: no worker is running\n")

        # The threads alone: a time elsewhere in the entry may have the same digits.
        types = json.dumps([entry["threads"] for entry in traced(fpm, heads[0], values="types")])
        values = fpm.cli("trace", "--json", heads[0], "--locals").stdout
        plain = json.dumps(traced(fpm, heads[0]))
        assert '"values"' not in plain
        assert "float" in types
        assert "0.05" not in types
        assert "0.05" in values


def wait_placed(fpm: Daemon) -> list[dict[str, Any]]:
    """The stacks of both requests, once each shows where it stays."""
    places = [["nap", "application"], ["wait_for_lock", "application"]]
    (found,) = wait_until(
        lambda: [found for found in [traced(fpm, "www")] if [functions(one)[:2] for one in found] == places]
    )
    return found


def _who_can_wait_looks_with_others(fpm: Daemon) -> None:
    """Three who ask together for two stacks, one in a while, are two looks; one who asks at once gets another."""
    pace = 1.5
    with ThreadPoolExecutor(3) as clients:
        together = [clients.submit(traced, fpm, "www", pace=pace) for _ in range(3)]
        first, *others = [one.result() for one in together]
    assert others == [first, first]
    before, after = (datetime.fromisoformat(one["time"]) for one in first)
    assert (after - before).total_seconds() >= pace - 0.001, "as it is printed"
    (again,) = traced(fpm, str(first[1]["pid"]))
    assert again["time"] != first[1]["time"]


def test_processes_by_number(fpm: Daemon) -> None:
    worker = fpm.workers("two")[0]
    (template,) = fpm.templates("two")
    (idle,) = traced(fpm, str(worker))
    assert (idle["stage"], idle["method"], idle["reason"]) == ("idle", "", "trace")
    assert "WorkerLoop.run" in functions(idle)
    (own,) = traced(fpm, str(template))
    assert own["stage"] == "template"
    assert "main" in functions(own)
    for strange in (fpm.pid, os.getpid(), 4194304, 0):
        assert ask(fpm, str(strange)) == [{"ok": False, "error": f"process {strange} {NOT_OURS}"}]
    refused = fpm.cli("trace", "wwww")
    assert refused.returncode == 1
    assert "there is no pool 'wwww'; there are: www, two, three, calm, one" in refused.stderr
    assert fpm.cli("trace").returncode == fpm.cli("trace", "www", "--all").returncode == 64

    os.kill(worker, signal.SIGSTOP)
    try:
        (stopped,) = traced(fpm, str(worker))
        assert "WorkerLoop.run" in functions(stopped)
    finally:
        os.kill(worker, signal.SIGCONT)
    assert fpm.get("two", "/measure").status == 200


def test_clients_that_go_and_a_master_that_stops(daemon: Start) -> None:
    """Nobody who asks, and nothing that is asked of, leaves anything behind."""
    fpm = daemon({"www": {"app": "held:application", "pm.max_children": 3}})
    traced(fpm, "www", idle=True)  # the tracer runs from now on
    with fpm.no_descriptor_leak():
        for _ in range(20):
            with connect(fpm.control) as client:
                client.sendall(b'{"command": "trace", "target": null, "idle": true}\n')
        odd: list[dict[str, Any]] = [{"depth": -1}, {"depth": "x"}, {"values": [1]}, {"format": {}}, {"native": "?"}]
        odd += [
            {"most": -1},
            {"most": "x"},
            {"first": ["x", {}]},
            {"first": 7},
            {"pace": "x"},
            {"pace": -1},
            {"pace": float("nan")},
        ]
        for question in odd:
            assert ask(fpm, "www", idle=True, **question)[-1] == {"ok": True, "failed": 0}
        for target in ("", "\u0660", "-1", "9" * 1000):
            assert "ok" in ask(fpm, target)[-1]
    asking = [fpm.begin("trace", "www", "--idle") for _ in range(3)]
    fpm.signal(signal.SIGTERM)
    assert fpm.wait() == 0
    for one in asking:
        one.communicate(timeout=60)
        assert one.returncode in (0, 1)
    wait_until(lambda: not fpm.processes("tracer"))


def test_a_tracer_that_hangs(fpm: Daemon) -> None:
    """Whoever asks is answered all the same, by the process itself, and the next one has a tracer again."""
    wait_until(lambda: {entry["how"] for entry in traced(fpm, "three", idle=True)} == {"ptrace"})
    (tracer,) = [one for one in children(fpm.pid) if title_of(one) == "pyfpm: tracer"]  # not those that it has forked
    tracer.suspend()
    fpm.expect_log("WARNING: the tracer does not respond; killing it", "WARNING: the tracer exited")
    entries = traced(fpm, "three", idle=True)
    assert [(entry["how"], entry["error"]) for entry in entries] == [("faulthandler", "")] * 3
    assert {entry["note"] for entry in entries} <= {
        "not by ptrace: the tracer has not answered in time",
        "not by ptrace: the tracer had too many others to look at",
    }
    wait_until(lambda: not tracer.is_running())
    wait_until(lambda: traced(fpm, "three", idle=True)[0]["how"] == "ptrace")
