"""Stacks that processes write themselves, on signals: for where ptrace is forbidden.

A process that does not catch the signals never gets them, for it would die of them. The forced one is sent only to a
process that stands in C, see fpm.worker.self_dump. Nothing waits: the answer is looked for again and again with growing
pauses, for ANSWER_TIME at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fpm.master.core import Core
from fpm.master.loop.loop import Timer
from fpm.master.tracing.self_dump_parse import SLEEPS, Activity, obstacle, read_self_dump, stands_in_c
from fpm.master.tracing.trace_target import TraceTarget
from fpm.protocol.spec import FORCED, POLITE
from fpm.stacks.credentials import GONE, Status
from fpm.stacks.rights import read_status
from fpm.stacks.trace import Trace
from fpm.system.proc_stat import STATE, SYSTEM_TIME, USER_TIME, read_stat

ANSWER_TIME = 1.0
"""Seconds that a process has for its answer."""
FIRST_LOOK = 0.002
LONGEST_PAUSE = 0.1
FORCED_TWICE = 2
"""The kernel keeps the second signal back until the first stack is written (a signal is blocked during its own
handler), so the beginning of the second says that the first is complete."""

DumpDone = Callable[[Trace | str], None]
"""Gets the stack, or why there is none."""


@dataclass(slots=True)
class _Request:
    """One process that has been asked."""

    target: TraceTarget
    status: Status | None
    until: float
    """Monotonic seconds."""
    depth: int
    waiting: list[DumpDone]
    looks: list[Activity | None] = field(default_factory=list)
    forced: bool = False
    timer: Timer | None = None
    pause: float = FIRST_LOOK


class SignalDump:
    """Asks processes for their stacks by a signal, and looks for their answers."""

    def __init__(self, core: Core, spend: Callable[[str, float], None]) -> None:
        """`spend`: charges seconds to the pool of this name."""
        self._core = core
        self._spend = spend
        self._asked: dict[int, _Request] = {}

    def ask(self, target: TraceTarget, depth: int, done: DumpDone) -> None:
        """Ask a process for its stack; `done` gets it, or the reason, within about ANSWER_TIME or at once."""
        asked = self._asked.get(target.pid)
        if asked is not None:
            asked.waiting.append(done)
            asked.depth = max(asked.depth, depth) if asked.depth and depth else 0
            return
        status = read_status(target.pid)
        listens = target.own_stack.listens
        reason = obstacle(status, numbers=(POLITE, FORCED), ready=target.is_ready, listens=listens)
        if target.is_gone():
            reason = GONE
        request = _Request(target, status, self._core.loop.now + ANSWER_TIME, depth, [done])
        if not reason:
            reason = _begin(request)
        if reason:
            done(reason)
            return
        self._asked[target.pid] = request
        self._look_later(request)

    def close(self) -> None:
        """Look for no more answers; those who wait hear nothing."""
        for request in self._asked.values():
            if request.timer is not None:
                request.timer.cancel()
        self._asked.clear()

    def _look_later(self, request: _Request) -> None:
        request.timer = self._core.loop.call_later(request.pause, lambda: self._look_timed(request))
        request.pause = min(request.pause * 2, LONGEST_PAUSE)

    def _look_timed(self, request: _Request) -> None:
        begin = time.monotonic()
        self._look(request)
        self._spend(request.target.pool, time.monotonic() - begin)

    def _look(self, request: _Request) -> None:
        target = request.target
        own = target.own_stack
        final = self._core.loop.now + request.pause > request.until
        data = own.read() if own.fd >= 0 else b""
        trace = read_self_dump(target.pid, data, request.status, depth=request.depth, final=final)
        if trace is not None:
            self._finish(request, trace)
        elif own.fd < 0 or target.is_gone():
            self._finish(request, GONE)
        elif final:
            self._finish(request, _silence(request))
        else:
            _escalate(request)
            self._look_later(request)

    def _finish(self, request: _Request, answer: Trace | str) -> None:
        del self._asked[request.target.pid]
        for done in request.waiting:
            done(answer)


def _begin(request: _Request) -> str:
    """Send the polite signal; returns why it cannot be sent, or ""."""
    request.looks.append(_read_activity(request.target.pid))
    try:
        if not request.target.own_stack.pass_over():
            return "the file to which it writes its stacks is full: it has not come to Python to empty it"
        request.target.send_signal(POLITE)
    except ProcessLookupError:
        return GONE
    except OSError as error:
        return f"it cannot be sent signal {POLITE}: {error.strerror}"
    return ""


def _escalate(request: _Request) -> None:
    """Send the forced signal, once, to a process that has not answered and is known to stand in C."""
    request.looks.append(_read_activity(request.target.pid))
    threads = request.status.threads if request.status is not None else 0
    if request.forced or not stands_in_c(request.looks, threads):
        return
    status = read_status(request.target.pid)
    if status is None or obstacle(status, numbers=(FORCED,), ready=False, listens=True):
        return  # it may have executed another program meanwhile, which the signal would end
    request.forced = True
    try:
        for _ in range(FORCED_TWICE):
            request.target.send_signal(FORCED)
    except OSError:
        return  # it has ended: the next look finds it gone


def _silence(request: _Request) -> str:
    status = read_status(request.target.pid)
    if status is not None and status.state == "D":
        return SLEEPS
    if not request.forced:
        return (
            f"it has not come to signal {POLITE} within {ANSWER_TIME:g} s, and it may be in the middle of Python code"
        )
    return f"it has not answered signal {FORCED} within {ANSWER_TIME:g} s"


def _read_activity(pid: int) -> Activity | None:
    """Read the first thread's state and CPU time (proc_pid_stat(5)); None if it is gone or hidden."""
    try:
        fields = read_stat(f"/proc/{pid}/task/{pid}/stat")
        return Activity(fields[STATE].decode(), int(fields[USER_TIME]) + int(fields[SYSTEM_TIME]))
    except (OSError, ValueError, IndexError):
        return None
