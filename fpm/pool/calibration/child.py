"""The forked child in which the calibration runs: whatever the application has done, it harms nobody.

The functions used here are taken when the template begins, before the application can put others in their places.
"""

from __future__ import annotations

import gc
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

from fpm.pool.calibration.calibrate import calibrate
from fpm.pool.calibration.calibrate import refuse_unknown
from fpm.pool.calibration.own import OwnProcess
from fpm.pool.calibration.search import Doubt
from fpm.pool.calibration.search import Refused

TIME = 5
"""Seconds after which SIGALRM ends the process, wherever it is."""
FD_ANSWER = 3
FD_LIMIT = 1 << 20
SWITCH_INTERVAL = 0.1
"""Seconds for which this thread keeps the interpreter from threads that the application has started after the fork."""
TOOLS = 6
"""Tools of sys.monitoring (3.12)."""
ERROR_MAX = 1000


def run_child(answer: int) -> NoReturn:
    """Calibrate, write the answer to the pipe, end without any of the application's code.

    Args:
        answer: the writing end. It gets one JSON object: {"layout": {...}}, or {"error": str, "final": bool}, where
            `final` means that another try gives nothing else.
    """
    try:
        _become_harmless(answer)
        message = _calibrated()
        write(FD_ANSWER, json.dumps(message).encode())
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
    gc.disable()
    sys.settrace(None)
    sys.setprofile(None)
    _stop_monitoring()
    sys.setswitchinterval(SWITCH_INTERVAL)
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


def _calibrated() -> dict[str, Any]:
    try:
        refuse_unknown()
        return {"layout": calibrate(OwnProcess()).as_message()}
    except Refused as error:
        return {"error": str(error), "final": True}
    except Doubt as error:
        return {"error": str(error), "final": False}
    except BaseException as error:  # an audit hook of the application may raise anything
        return {"error": f"{type(error).__name__}: {error}"[:ERROR_MAX], "final": False}
