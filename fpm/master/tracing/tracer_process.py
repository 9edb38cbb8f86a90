"""The tracer as the master sees it: executed when the first stack is wanted, given one task after another.

Whatever happens to it, whoever wants a stack hears of it within a bounded time. What it answers is read out of
processes that nobody trusts, and checked as if they had written it themselves.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SHRINK, fcntl
from typing import Any

from fpm.events.master import HelperStuck, TracerAnswerInvalid
from fpm.master.core import Core
from fpm.master.loop.loop import Timer
from fpm.master.processes.helper_process import HelperProcess, Owner
from fpm.protocol.tracing import (
    TRACE_MAX,
    TRACE_SECONDS,
    TraceAnswer,
    TracerReady,
    TraceTask,
    as_message,
    read_answer,
    unpack_trace,
)
from fpm.protocol.wire import MessageError
from fpm.stacks.trace import Trace

ANSWER_TIME = 3.0
"""Seconds after which whoever wants a stack is told that there is none."""
START_TIME = 10.0
"""Seconds in which it must have started."""
IDLE_TIME = 60.0
"""Seconds without work after which it is ended."""
WINDOW = 16
"""Tasks on their way: they, and the descriptors in them, must fit into the channel."""

Done = Callable[[Trace], None]


@dataclass(slots=True)
class _Pending:
    task: TraceTask
    done: Done
    timer: Timer
    memory: int = -1
    """The memfd that gets the stack; -1 while the task has not been sent."""


class TracerProcess:
    """One for all pools."""

    def __init__(self, core: Core) -> None:
        self._core = core
        owner = Owner(lambda: bool(self._pending), self._on_start, self._on_message, self._send_some, self._on_end)
        self._process = HelperProcess(core, "the tracer", "fpm.tracer", owner)
        self._pending: dict[int, _Pending] = {}
        self._unsent: deque[int] = deque()
        self._numbers = itertools.count(1)
        self._on_the_way = 0
        self._is_ready = False
        self._started = 0.0
        self._idle: Timer | None = None
        self._closed = False

    @property
    def pid(self) -> int:
        """0 while there is none."""
        return self._process.pid

    def trace(self, task: TraceTask, done: Done) -> None:
        """Have one process looked at.

        Args:
            task: without number and until, which are set here.
            done: called exactly once, never in this call, and within ANSWER_TIME, with the stack or with the reason
                why there is none.
        """
        loop = self._core.loop
        number = next(self._numbers)
        hopeless = self._closed or self._process.pause > ANSWER_TIME
        timer = loop.call_later(0.0 if hopeless else ANSWER_TIME, lambda: self._on_late(number))
        until = time.monotonic() + TRACE_SECONDS
        self._pending[number] = _Pending(replace(task, number=number, until=until), done, timer)
        if self._closed:
            return
        self._unsent.append(number)
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._process.start()
        self._send_some()

    def close(self) -> None:
        """End it, at the end of the master; who still waits is told."""
        self._closed = True
        if self._idle is not None:
            self._idle.cancel()
        self._process.close()
        self._fail_all("pyfpm stops")

    # ---------------------------------------------------------------- the process

    def _on_start(self) -> None:
        self._is_ready = False
        self._started = self._core.loop.now
        self._send_some()

    def _on_end(self) -> None:
        """Those that it had been given are lost; the others wait for the next one."""
        self._on_the_way = 0
        for number, pending in list(self._pending.items()):
            if pending.memory >= 0:
                self._finish(number, "the tracer ended while it looked; it is started again")

    def _on_idle(self) -> None:
        self._idle = None
        self._process.stop()

    def _on_late(self, number: int) -> None:
        pending = self._pending[number]
        now = self._core.loop.now
        if self._closed:
            self._finish(number, "pyfpm stops")
        elif not self._is_ready:
            self._finish(number, f"the tracer could not be started within {ANSWER_TIME:g} s; the error log says more")
            if self._process.pid and now - self._started >= START_TIME:
                self._process.kill()
        else:
            sent = pending.memory >= 0
            self._finish(number, f"the tracer did not answer within {ANSWER_TIME:g} s")
            if sent:
                self._core.emit(HelperStuck("the tracer"))
                self._process.kill()

    # ---------------------------------------------------------------- tasks and answers

    def _send_some(self) -> None:
        while self._unsent and self._on_the_way < WINDOW and self._process.is_open:
            number = self._unsent.popleft()
            pending = self._pending.get(number)
            if pending is None:
                continue
            try:
                pending.memory = _make_memory()
            except OSError as error:
                self._finish_later(number, f"no memory for a stack: {error.strerror}")
                continue
            if self._process.send(as_message(pending.task), [pending.memory]):
                self._on_the_way += 1
            else:
                self._finish_later(number, "the tracer could not be told")

    def _on_message(self, message: dict[str, Any]) -> None:
        try:
            answer = read_answer(message)
        except MessageError as error:
            self._core.emit(TracerAnswerInvalid(str(error)))
            return
        if isinstance(answer, TracerReady):
            self._is_ready = True
            return
        self._on_the_way = max(self._on_the_way - 1, 0)
        pending = self._pending.get(answer.number)
        if pending is not None and pending.memory >= 0:
            begin = time.monotonic()
            trace = _read(pending, answer)
            self._finish(answer.number, replace(trace, cost=answer.seconds + time.monotonic() - begin))

    def _finish_later(self, number: int, error: str) -> None:
        """From within `trace`, which never calls back."""
        pending = self._pending[number]
        pending.timer.cancel()
        pending.timer = self._core.loop.call_later(0.0, lambda: self._finish(number, error))

    def _finish(self, number: int, result: Trace | str) -> None:
        pending = self._pending.pop(number)
        pending.timer.cancel()
        if pending.memory >= 0:
            os.close(pending.memory)
        if not self._pending and not self._closed:
            self._idle = self._core.loop.call_later(IDLE_TIME, self._on_idle)
        pending.done(result if isinstance(result, Trace) else Trace(pending.task.pid, "", error=result))

    def _fail_all(self, error: str) -> None:
        for number in list(self._pending):
            self._finish(number, error)


def _make_memory() -> int:
    """A memfd in which a stack fits, and not more: memfd_create(2), fcntl(2)."""
    fd = os.memfd_create("pyfpm-stack", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, TRACE_MAX)
        fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK)
    except OSError:
        os.close(fd)
        raise
    return fd


def _read(pending: _Pending, answer: TraceAnswer) -> Trace:
    if answer.error:
        return Trace(pending.task.pid, "", error=answer.error)
    try:
        trace = unpack_trace(os.pread(pending.memory, answer.size, 0))
    except (MessageError, OSError) as error:
        return Trace(pending.task.pid, "", error=f"the tracer's answer makes no sense: {error}")
    return replace(trace, pid=pending.task.pid)
