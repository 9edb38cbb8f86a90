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
from tests.support.reloads import reload
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


def test_every_python_and_way_of_loading(daemon: Start) -> None:
    """And after an upgrade the new master asks again."""
    # An interpreter below root's home is root's alone, so these are pools of root.
    who = {"user": "root", "group": "root"} if IS_ROOT else {}
    pythons = dict(enumerate(interpreters()))
    pool = {"app": "held:application", "pm.max_children": 1, **who}
    preloaded = {f"yes{number}": {**pool, "preload": "yes", "python": python} for number, python in pythons.items()}
    own = {f"no{number}": {**pool, "preload": "no", "python": python} for number, python in pythons.items()}
    fpm = daemon(preloaded | own, started=False)
    fpm.start(*(["-R"] if IS_ROOT else []), "run")
    for name, settings in preloaded.items():
        entry = look(fpm, "/nap", place="nap", pool=name)
        assert (entry["how"], entry["error"]) == ("ptrace", ""), settings
        frames = entry["threads"][0]["frames"]
        assert [frame["function"] for frame in frames][-2:] == ["<module>", "<module>"], settings
        assert all(frame["file"] and frame["line"] > 0 for frame in frames), settings
    # The processes of the calibrations are gone, and were never taken for workers.
    wait_until(lambda: not fpm.processes("calibration"))
    for name in preloaded:
        assert len(fpm.workers(name)) == 1
    for name, settings in own.items():
        (first,) = traced(fpm, name, idle=True)
        assert first["how"] == "ptrace", settings
        assert "WorkerLoop.run" in functions(first), settings
    assert "exited" not in fpm.log()
    assert fpm.ask("upgrade")["ok"]
    assert traced(fpm, "yes0", idle=True)[0]["how"] == "ptrace"


def test_a_pool_that_lies_and_one_that_hangs(daemon: Start) -> None:
    """Workers are forked while a calibration hangs."""
    fpm = daemon({"www": {}}, started=False)
    (fpm.apps / "liar.py").write_text(LIAR)
    (fpm.apps / "slow_to_calibrate.py").write_text(SLOW_TO_CALIBRATE)
    slow = {"app": "slow_to_calibrate:application", "preload": "yes", "pm.max_requests": 1, "pm.max_children": 1}
    fpm.configure({"www": {"app": "liar:application", "preload": "yes"}, "good": {}, "slow": slow})
    fpm.expect_log(r"\[pool www\] stacks cannot be read from outside: its template sent no usable layout")
    fpm.expect_log(r"\[pool slow\] stacks cannot be read from outside: .*not done within")
    fpm.start()
    fpm.wait_log(r"WARNING: \[pool www\] stacks cannot be read from outside: .*(missing|no field|out of its range)")
    (entry,) = traced(fpm, "www", idle=True)
    assert entry["how"] != "ptrace" or entry["threads"]
    (entry,) = traced(fpm, "good", idle=True)
    assert entry["how"] == "ptrace"

    asking = threading.Thread(target=traced, args=[fpm, "slow"], kwargs={"idle": True})
    asking.start()
    served = 0
    wait_until(lambda: fpm.processes("calibration"))
    while "[pool slow] stacks cannot be read" not in fpm.log():
        assert fpm.get("slow", "/measure").status == 200
        served += 1
    asking.join()
    assert served > 1, "each of them needs a new worker"
    assert fpm.get("slow", "/measure").status == 200
    assert traced(fpm, "slow", idle=True)[0]["how"] != "ptrace"


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
    reload(fpm, "www")
    # Without ctypes a worker has no title, by which it could be found.
    former = entry["pid"]
    (entry,) = wait_until(
        lambda: (entries := traced(fpm, "www", idle=True)) and former not in [one["pid"] for one in entries] and entries
    )
    assert entry["how"] == "ptrace", fpm.log()
    assert "WorkerLoop.run" in functions(entry)


def libraries_of_ctypes() -> list[str]:
    """What ldd(1) names for it."""
    code = "import _ctypes; print(_ctypes.__file__)"
    file = subprocess.run([pool_python(), "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    report = subprocess.run(["ldd", file], capture_output=True, text=True, check=True).stdout
    return re.findall(r"=> (/\S+)", report)
