"""The template's side of the calibration: fork the child, wait for its answer beside everything else, try again.

The template's loop asks `fd` and `patience()`, so that a fork request is never behind a calibration.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from fpm.protocol.messages import LayoutFailed, LayoutFound
from fpm.system.proctitle import set_title
from fpm.template.calibration_child import TIME, run_child

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
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                _run(self._pool, writing)
        except Exception as error:  # no processes left; or an audit hook of the application, which raises anything
            os.close(reading)
            self._report(LayoutFailed(f"no process for the calibration: {error}"))
            return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
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
                os.kill(self._child, signal.SIGKILL)

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
