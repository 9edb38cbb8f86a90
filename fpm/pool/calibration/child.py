"""The forked child in which the calibration runs: whatever the application has done, it harms nobody.

The functions used here are taken when the template begins, before the application can put others in their places;
the calibration itself is imported in the child.
"""

from __future__ import annotations

import json
import sys
from os import _exit
from os import close
from os import closerange
from os import dup2
from os import pipe
from os import write
from resource import RLIMIT_CORE
from resource import setrlimit
from signal import SIG_DFL
from signal import SIG_IGN
from signal import SIG_SETMASK
from signal import SIGKILL
from signal import SIGPIPE
from signal import SIGSTOP
from signal import alarm
from signal import pthread_sigmask
from signal import set_wakeup_fd
from signal import signal
from signal import valid_signals
from typing import Any
from typing import NoReturn

from fpm.pool.calibration.genuine import disable_collector
from fpm.pool.calibration.genuine import setprofile
from fpm.pool.calibration.genuine import setrecursionlimit
from fpm.pool.calibration.genuine import setswitchinterval
from fpm.pool.calibration.genuine import settrace

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
        answer: the writing end, which gets one JSON object, see fpm.pool.calibration.calibrate.find_answer().
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
        from fpm.pool.calibration import calibrate

        answer: dict[str, Any] = calibrate.find_answer()
        return answer
    except BaseException as error:  # whatever hooks of the application raise, the master gets to know it
        return {"error": f"{type(error).__name__}: {error}"[:ERROR_MAX], "final": False}
