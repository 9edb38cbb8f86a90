"""The forked child in which the calibration runs: whatever the application has done, it harms nobody.

The functions used here are taken when the template begins, before the application can put others in their places;
the calibration itself is imported in the child.
"""

from __future__ import annotations

import json
import sys
from os import _exit, close, closerange, dup2, pipe, write
from resource import RLIMIT_CORE, setrlimit
from signal import (
    SIG_DFL,
    SIG_IGN,
    SIG_SETMASK,
    SIGKILL,
    SIGPIPE,
    SIGSTOP,
    alarm,
    pthread_sigmask,
    set_wakeup_fd,
    signal,
    valid_signals,
)
from typing import Any, NoReturn

from fpm.stacks.calibration.unpatched import (
    disable_collector,
    setprofile,
    setrecursionlimit,
    setswitchinterval,
    settrace,
)

TIME = 5
"""Seconds after which SIGALRM ends the process, wherever it is."""
FD_ANSWER = 3
FD_LIMIT = 1 << 20
SWITCH_INTERVAL = 0.1
"""Seconds for which this thread keeps the interpreter from threads that the application has started after the fork."""
RECURSION_LIMIT = 2000
TOOLS = 6
"""Tools of sys.monitoring (3.12)."""
ERROR_MAX = 1000


def run_child(answer: int) -> NoReturn:
    """Calibrate, write the answer to the pipe, end without any of the application's code.

    Args:
        answer: the writing end, which gets one JSON object, see fpm.stacks.calibration.calibrate.find_answer().
    """
    try:
        _become_harmless(answer)
        write(FD_ANSWER, json.dumps(_find_answer()).encode())
    finally:
        _exit(0)


def _become_harmless(answer: int) -> None:
    """No signal handler, no descriptor, no output, no trace function, no collector; and not for ever."""
    alarm(TIME)
    for which in valid_signals() - {SIGKILL, SIGSTOP}:
        signal(which, SIG_DFL)
    signal(SIGPIPE, SIG_IGN)
    set_wakeup_fd(-1)
    pthread_sigmask(SIG_SETMASK, ())
    setrlimit(RLIMIT_CORE, (0, 0))
    disable_collector()
    settrace(None)
    setprofile(None)
    _stop_monitoring()
    setswitchinterval(SWITCH_INTERVAL)
    setrecursionlimit(RECURSION_LIMIT)
    dup2(answer, FD_ANSWER, inheritable=False)
    closerange(FD_ANSWER + 1, FD_LIMIT)
    # What anything writes goes to a pipe that nobody reads: there may be no /dev/null in a jail.
    reader, writer = pipe()
    for number in range(3):
        dup2(writer, number)
    close(reader)
    close(writer)


def _stop_monitoring() -> None:
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is None:
        return
    for tool in range(TOOLS):
        if monitoring.get_tool(tool) is not None:
            monitoring.set_events(tool, 0)


def _find_answer() -> dict[str, Any]:
    try:
        # Only here: a template whose pool wants no stacks need not have it in memory.
        from fpm.stacks.calibration import calibrate

        answer: dict[str, Any] = calibrate.find_answer()
        return answer
    except BaseException as error:  # whatever hooks of the application raise, the master gets to know it
        return {"error": f"{type(error).__name__}: {error}"[:ERROR_MAX], "final": False}
