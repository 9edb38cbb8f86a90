"""The layout's way in a daemon: template, calibration, master; and what happens beside it."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading

import pytest

from tests.process.test_interpreters import interpreters
from tests.support.fpm import IS_ROOT, Start
from tests.support.interpreter import pool_python
from tests.support.jail import build_jail
from tests.support.traces import functions, look, traced
from tests.support.waiting import wait_until

LIAR = """
import json, os
layout = dict.fromkeys(("version", "at_interpreter", "interpreter_threads"), 2**63)
os.write(3, json.dumps({"v": 1, "kind": "LayoutFound", "layout": layout}).encode())
from held import application
"""
SLOW_TO_CALIBRATE = """
import os, signal
from fpm.template import calibrator
calibrator._find_answer = lambda: [signal.pause() for _ in iter(int, 1)]
calibrator.PATIENCE = 3.0
from held import application
"""


@pytest.mark.parametrize("python", interpreters())
def test_every_python_and_way_of_loading(daemon: Start, python: str) -> None:
    # An interpreter below root's home is root's alone, so these are pools of root.
    who = {"user": "root", "group": "root"} if IS_ROOT else {}
    pool = {"app": "held:application", "python": python, "pm.max_children": 1, **who}
    fpm = daemon({"www": {**pool, "preload": "yes"}, "own": {**pool, "preload": "no"}}, started=False)
    fpm.start(*(["-R"] if IS_ROOT else []), "run")
    entry = look(fpm, "/nap", place="nap")
    assert (entry["how"], entry["error"]) == ("ptrace", "")
    frames = entry["threads"][0]["frames"]
    assert [frame["function"] for frame in frames][-2:] == ["<module>", "<module>"]
    assert all(frame["file"] and frame["line"] > 0 for frame in frames)
    # The process of the calibration is gone, and was never taken for a worker.
    wait_until(lambda: not fpm.processes("calibration"))
    assert len(fpm.workers("www")) == 1
    (first,) = traced(fpm, "own", idle=True)
    assert first["how"] == "ptrace"
    assert "WorkerLoop.run" in functions(first)
    assert "exited" not in fpm.log()


def test_after_an_upgrade_the_new_master_asks_again(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "held:application"}})
    assert traced(fpm, "www", idle=True)[0]["how"] == "ptrace"
    assert fpm.cli("upgrade").returncode == 0
    assert traced(fpm, "www", idle=True)[0]["how"] == "ptrace"


def test_a_pool_that_lies(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    (fpm.apps / "liar.py").write_text(LIAR)
    fpm.configure({"www": {"app": "liar:application", "preload": "yes"}, "good": {}})
    fpm.expect_log(r"\[pool www\] stacks cannot be read from outside: its template sent no usable layout")
    fpm.start()
    fpm.wait_log(r"WARNING: \[pool www\] stacks cannot be read from outside: .*(missing|no field|out of its range)")
    (entry,) = traced(fpm, "www", idle=True)
    assert entry["how"] != "ptrace" or entry["threads"]
    (entry,) = traced(fpm, "good", idle=True)
    assert entry["how"] == "ptrace"


def test_workers_are_forked_while_a_calibration_hangs(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    (fpm.apps / "slow_to_calibrate.py").write_text(SLOW_TO_CALIBRATE)
    pool = {"app": "slow_to_calibrate:application", "preload": "yes", "pm.max_requests": 1, "pm.max_children": 1}
    fpm.configure({"www": pool})
    fpm.expect_log(r"\[pool www\] stacks cannot be read from outside: .*not done within")
    fpm.start()
    asking = threading.Thread(target=traced, args=[fpm, "www"], kwargs={"idle": True})
    asking.start()
    served = 0
    wait_until(lambda: fpm.processes("calibration"))
    while "stacks cannot be read" not in fpm.log():
        assert fpm.get("www", "/measure").status == 200
        served += 1
    asking.join()
    assert served > 1, "each of them needs a new worker"
    assert fpm.get("www", "/measure").status == 200
    assert traced(fpm, "www", idle=True)[0]["how"] != "ptrace"


@pytest.mark.root
def test_in_a_chroot(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    jail = fpm.directory / "jail"
    build_jail(jail, pool_python())
    (jail / "srv").mkdir(mode=0o755)
    shutil.copy(fpm.apps / "echo.py", jail / "srv" / "echo.py")
    fpm.configure({"www": {"chroot": jail, "chdir": "/srv", "app": "echo:application"}})
    fpm.expect_log(r"\[pool www\] stacks cannot be read from outside: .*the pool's Python has no ctypes: libffi")
    fpm.start()
    assert fpm.get("www").status == 200
    (entry,) = traced(fpm, "www", idle=True)
    fpm.wait_log("has no ctypes")
    assert entry["how"] == "faulthandler"

    for library in libraries_of_ctypes():
        if not (jail / library[1:]).exists():
            shutil.copy(library, jail / library[1:])
    assert fpm.cli("reload", "www").returncode == 0
    (entry,) = traced(fpm, "www", idle=True)
    assert entry["how"] == "ptrace", fpm.log()
    assert "WorkerLoop.run" in functions(entry)


def libraries_of_ctypes() -> list[str]:
    """What ldd(1) names for it."""
    code = "import _ctypes; print(_ctypes.__file__)"
    file = subprocess.run([pool_python(), "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    report = subprocess.run(["ldd", file], capture_output=True, text=True, check=True).stdout
    return re.findall(r"=> (/\S+)", report)
