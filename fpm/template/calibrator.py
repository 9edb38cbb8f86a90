"""The template's side of the calibration: fork the child, wait for its answer beside everything else, try again.

The template's loop asks `fd` and `patience()`, so that a fork request is never behind a calibration.

Whatever the application has done, the child harms nobody. The functions that it uses are taken when the template
begins, before the application can put others in their places; the calibration itself is imported in the child.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from os import _exit, close, closerange, dup2, pipe, write
from resource import RLIMIT_CORE, setrlimit
from signal import (
    SIG_BLOCK,
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

from fpm.protocol.messages import LayoutFailed, LayoutFound
from fpm.stacks.calibration.threads import (
    disable_collector,
    setprofile,
    setrecursionlimit,
    setswitchinterval,
    settrace,
)
from fpm.system.proctitle import set_title
from fpm.template.forking import fork_quietly

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
TRIES = 3
PATIENCE = TIME + 0.2
"""Seconds for one try; the child's own alarm comes before it unless something has blocked that."""
ANSWER_MAX = 65536


class Calibrator:
    """Finds the layout once, when the master first asks for it, and remembers it."""

    def __init__(self, pool: str, send: Callable[[LayoutFound | LayoutFailed], None]) -> None:
        """`send` takes the answer for the master."""
        self.fd = -1
        """To be polled for reading while a try goes on; else -1."""
        self._pool = pool
        self._send = send
        self._answer: LayoutFound | LayoutFailed | None = None
        self._tries = 0
        self._child = 0
        self._until = 0.0
        self._data = b""

    def want(self) -> None:
        """The master has asked: answer, or begin to look for the answer."""
        if self._answer is not None:
            self._send(self._answer)
        elif self.fd < 0:
            self._tries = 0
            self._start()

    def patience(self) -> float | None:
        """Milliseconds until go_on() must be called even if nothing has come; None while no try goes on."""
        return None if self.fd < 0 else max(0.0, self._until - time.monotonic()) * 1000

    def go_on(self) -> None:
        """Take what has come; at the end of it, or of the time, report or try again."""
        if self.fd < 0:
            return
        try:
            part: bytes | None = os.read(self.fd, ANSWER_MAX)
        except BlockingIOError:
            part = None
        except OSError:  # the application has closed what it did not open
            part = b""
        if part:
            self._data += part
        if part == b"" or len(self._data) > ANSWER_MAX:
            self._finish(_parsed(self._data))
        elif part is None and time.monotonic() >= self._until:
            self._finish({"error": f"the calibration was not done within {PATIENCE:g} s"})

    def stop(self) -> None:
        """The template ends."""
        if self.fd >= 0:
            self._end_try()

    def _start(self) -> None:
        self._tries += 1
        try:
            reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            self._report(LayoutFailed(f"no pipe for the calibration: {error.strerror}"))
            return
        # Handlers of the template must not run in the child, which resets them before it unblocks any signal.
        blocked = pthread_sigmask(SIG_BLOCK, valid_signals())
        try:
            pid = fork_quietly()
            if pid == 0:
                _run(self._pool, writing)
        except Exception as error:  # no processes left; or an audit hook of the application, which raises anything
            os.close(reading)
            self._report(LayoutFailed(f"no process for the calibration: {error}"))
            return
        finally:
            pthread_sigmask(SIG_SETMASK, blocked)
            os.close(writing)
        self._child, self.fd, self._data = pid, reading, b""
        self._until = time.monotonic() + PATIENCE

    def _finish(self, answer: dict[str, Any]) -> None:
        self._end_try()
        layout = answer.get("layout")
        if isinstance(layout, dict):
            self._report(LayoutFound(layout))
        elif answer.get("final") or self._tries >= TRIES:
            self._report(LayoutFailed(str(answer.get("error"))))
        else:
            self._start()

    def _end_try(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.fd)
        self.fd = -1
        # Its exit status has not been taken yet, or another process could have this number: see reaped().
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, SIGKILL)

    def reaped(self, pid: int) -> None:
        """The template has waited for a process, which may be the child."""
        if pid == self._child:
            self._child = 0

    def _report(self, message: LayoutFound | LayoutFailed) -> None:
        self._answer = message
        self._send(message)


def _run(pool: str, writing: int) -> None:
    try:
        set_title(f"pyfpm: calibration {pool}")
        run_child(writing)
    finally:
        os._exit(1)


def _parsed(data: bytes) -> dict[str, Any]:
    """The child's answer; it has none if it was ended."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return {"error": "the calibration was ended before it had an answer (by a signal or its limit of 5 s)"}
    return answer if isinstance(answer, dict) else {"error": "the calibration's answer is none"}


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
