"""A calibration in a process whose application has done what applications do, and worse."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fpm.stacks.layout import parse_layout
from tests.support.interpreter import interpreters, pool_python

ROOT = Path(__file__).parents[2]

REPLACED = """
import _thread, threading, sys, gc, signal, os, atexit
say = os.write
def broken(*_, **__):
    say(2, b"called in %d;" % os.getpid())
    raise RuntimeError("broken by the application")
for module, names in {
    _thread: "start_new_thread get_native_id stack_size",
    threading: "Thread Lock current_thread",
    sys: "_current_frames _getframe settrace setprofile setswitchinterval",
    gc: "disable",
    signal: "alarm signal set_wakeup_fd",
    os: "write dup2 pipe closerange _exit",
}.items():
    for name in names.split():
        if (module, name) != (sys, "_getframe"):  # dataclasses, typing and others need it for themselves
            setattr(module, name, broken)
atexit.register(broken)
sys.excepthook = sys.unraisablehook = sys.displayhook = broken
threading.excepthook = broken
"""
TRACED = """
import sys, gc, threading, os
def noisy(*_):
    return noisy
gc.callbacks.append(noisy)
gc.set_threshold(1)
threading.settrace(noisy)
threading.setprofile(noisy)
monitoring = getattr(sys, "monitoring", None)
if monitoring:
    monitoring.use_tool_id(3, "application")
    monitoring.register_callback(3, monitoring.events.LINE, noisy)
    monitoring.register_callback(3, monitoring.events.PY_START, noisy)
    monitoring.set_events(3, monitoring.events.LINE | monitoring.events.PY_START)
"""
SIGNALS = """
import signal, os, sys
say = os.write
def noisy(*_):
    say(1, b"called in %d;" % os.getpid())
for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD, signal.SIGPROF):
    signal.signal(number, noisy)
    signal.siginterrupt(number, True)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGUSR1})
signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
"""
MANY_OBJECTS = """
import sys
sys.kept = [[{}, (index,), str(index)] for index in range(200000)]
sys.setrecursionlimit(sys.getrecursionlimit() // 4)
sys.stdout = sys.stderr = None
"""
HARMLESS = {"replaced": REPLACED, "traced": TRACED, "signals": SIGNALS, "objects": MANY_OBJECTS}
AUDIT = """
import sys
def hook(event, arguments):
    if event == "{event}":
        raise RuntimeError("not here")
sys.addaudithook(hook)
"""
FORK_HOOK = """
import os, _thread
def spin():
    while True:
        pass
os.register_at_fork(after_in_child=lambda: _thread.start_new_thread(spin, ()))
"""
HANGS = """
import os, signal
from fpm.template import calibrator
calibrator.PATIENCE = 0.3
def hang():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        signal.pause()
os.register_at_fork(after_in_child=hang)
"""
KILLED = "import os; os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), 9))"
NO_CTYPES = "import sys; sys.modules['ctypes'] = None"
NO_LAYOUT = "import sys; sys.modules['fpm.stacks.layout'] = None"
NO_THREADS = """
import os, resource
user = 2000000 + os.getpid()
os.setresuid(user, user, user)
resource.setrlimit(resource.RLIMIT_NPROC, ({limit}, {limit}))
"""


def run(python: str, application: str) -> tuple[dict[str, Any], str]:
    """What the calibration has come to, and all other output."""
    command = [python, "-B", "-m", "tests.support.calibrating", application]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )
    # What the application has changed may speak at any time, also when all is over.
    begin = done.stdout.find('\n{"answers"')
    assert begin >= 0, done.stdout
    message: dict[str, Any]
    message, end = json.JSONDecoder().raw_decode(done.stdout, begin + 1)
    assert message["left"] == []
    assert message["fd"] == -1
    assert len(message["answers"]) > 1, "the second question gets the answer of the first"
    assert all(answer == message["answers"][0] for answer in message["answers"])
    return message, done.stdout[:begin] + done.stdout[end:]


def error_of(application: str) -> str:
    message, output = run(sys.executable, application)
    assert message["answers"][0]["kind"] == "LayoutFailed"
    assert "called in" not in output
    return str(message["answers"][0]["error"])


@pytest.mark.parametrize("python", interpreters(), ids=lambda path: path.replace("/", "-").strip("-"))
def test_nothing_that_an_application_has_changed_disturbs_it(python: str) -> None:
    application = "\n".join([SIGNALS, REPLACED, MANY_OBJECTS, TRACED])
    message, _ = run(python, application)
    assert message["answers"][0]["kind"] == "LayoutFound", message
    assert parse_layout(message["answers"][0]["layout"])
    assert message["ended"] == [0]


def test_nothing_of_the_application_is_called_in_the_child() -> None:
    message, output = run(sys.executable, SIGNALS + REPLACED)
    assert message["answers"][0]["kind"] == "LayoutFound", message
    assert set(re.findall(r"called in (\d+)", output)) <= {str(message["pid"])}


def test_a_thread_that_the_application_starts_in_every_child() -> None:
    message, _ = run(sys.executable, FORK_HOOK)
    assert message["answers"][0]["kind"] == "LayoutFound", message


@pytest.mark.parametrize("event", ["sys._current_frames", "ctypes.dlopen", "os.fork", "import"])
def test_an_audit_hook_that_refuses_is_the_reason(event: str) -> None:
    assert error_of(AUDIT.replace("{event}", event)).endswith(": not here")


def test_what_is_missing_is_the_reason() -> None:
    assert "no ctypes" in error_of(NO_CTYPES)
    assert "fpm.stacks.layout" in error_of(NO_LAYOUT)


def test_a_child_that_is_killed_is_tried_three_times() -> None:
    message, _ = run(sys.executable, KILLED)
    assert "ended before it had an answer" in message["answers"][0]["error"]
    assert message["ended"] == [9, 9, 9]


def test_a_child_that_hangs_is_ended_and_tried_three_times() -> None:
    message, _ = run(sys.executable, HANGS)
    assert "not done within" in message["answers"][0]["error"]
    assert message["ended"] == [9, 9, 9]


@pytest.mark.root
def test_limits_of_processes_are_the_reason() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become a user without processes")
    python = pool_python()
    for limit, reason in ((2, "no thread can be started"), (1, "no process for the calibration")):
        message, _ = run(python, NO_THREADS.replace("{limit}", str(limit)))
        assert reason in message["answers"][0]["error"]
