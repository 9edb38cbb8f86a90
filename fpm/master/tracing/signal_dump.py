"""Stacks that processes write themselves, on signals: for where ptrace is forbidden.

Rules of the file. A process that does not catch the signals never gets them, for it would die of them. The forced one
comes only to a process that stands in C, see fpm.worker.self_dump. Nothing waits: the answer is looked for again and
again with growing pauses, for ANSWER_TIME at most.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from fpm.master.core import Core
from fpm.master.loop.loop import Timer
from fpm.master.tracing.self_dump_parse import GONE, SLEEPS, Activity, obstacle, read_account, stands_in_c
from fpm.master.tracing.trace_target import Subject
from fpm.protocol.self_dump import FORCED, POLITE
from fpm.stacks.credentials import Status
from fpm.stacks.rights import read_status
from fpm.stacks.trace import Trace
from fpm.system.proc_stat import STATE, SYSTEM_TIME, USER_TIME, read_stat
from fpm.system.thread_signal import signal_first_thread

ANSWER_TIME = 1.0
"""Seconds that a process has for its answer."""
FIRST_LOOK = 0.002
LONGEST_PAUSE = 0.1
FORCED_TWICE = 2
"""The kernel keeps the second signal back until the first stack is written (a signal is blocked during its own
handler), so the beginning of the second says that the first is complete."""

Done = Callable[[Trace | str], None]
"""Gets the stack, or why there is none."""


@dataclass(slots=True)
class _Question:
    """One process that has been asked."""

    subject: Subject
    status: Status | None
    until: float
    """Monotonic seconds."""
    depth: int
    waiting: list[Done]
    looks: list[Activity | None] = field(default_factory=list)
    forced: bool = False
    timer: Timer | None = None
    pause: float = FIRST_LOOK


class Fallback:
    """Asks, and looks for answers."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._asked: dict[int, _Question] = {}

    def ask(self, subject: Subject, depth: int, done: Done) -> None:
        """Ask a process for its stack; `done` gets it, or the reason, within about ANSWER_TIME or at once."""
        asked = self._asked.get(subject.pid)
        if asked is not None:
            asked.waiting.append(done)
            asked.depth = max(asked.depth, depth) if asked.depth and depth else 0
            return
        status = read_status(subject.pid)
        listens = subject.own_stack.listens
        reason = obstacle(status, numbers=(POLITE, FORCED), ready=subject.is_ready, listens=listens)
        if subject.is_gone():
            reason = GONE
        question = _Question(subject, status, self._core.loop.now + ANSWER_TIME, depth, [done])
        if not reason:
            reason = _begin(question)
        if reason:
            done(reason)
            return
        self._asked[subject.pid] = question
        self._look_later(question)

    def close(self) -> None:
        """No more answers; who waits hears nothing."""
        for question in self._asked.values():
            if question.timer is not None:
                question.timer.cancel()
        self._asked.clear()

    def _look_later(self, question: _Question) -> None:
        question.timer = self._core.loop.call_later(question.pause, lambda: self._look(question))
        question.pause = min(question.pause * 2, LONGEST_PAUSE)

    def _look(self, question: _Question) -> None:
        subject = question.subject
        own = subject.own_stack
        final = self._core.loop.now + question.pause > question.until
        data = own.read() if own.fd >= 0 else b""
        trace = read_account(subject.pid, data, question.status, depth=question.depth, final=final)
        if trace is not None:
            self._finish(question, trace)
        elif own.fd < 0 or subject.is_gone():
            self._finish(question, GONE)
        elif final:
            self._finish(question, _silence(question))
        else:
            _press(question)
            self._look_later(question)

    def _finish(self, question: _Question, answer: Trace | str) -> None:
        del self._asked[question.subject.pid]
        for done in question.waiting:
            done(answer)


def _begin(question: _Question) -> str:
    """The polite signal; returns why it cannot be sent, or ""."""
    question.looks.append(_look_at(question.subject.pid))
    try:
        question.subject.own_stack.empty()
        _send(question.subject, POLITE)
    except ProcessLookupError:
        return GONE
    except OSError as error:
        return f"it cannot be sent signal {POLITE}: {error.strerror}"
    return ""


def _press(question: _Question) -> None:
    """It has not answered: the forced signal, once, if it is known to stand in C."""
    question.looks.append(_look_at(question.subject.pid))
    threads = question.status.threads if question.status is not None else 0
    if question.forced or not stands_in_c(question.looks, threads):
        return
    status = read_status(question.subject.pid)
    if status is None or obstacle(status, numbers=(FORCED,), ready=False, listens=True):
        return  # it may have executed another program meanwhile, which the signal would end
    question.forced = True
    try:
        for _ in range(FORCED_TWICE):
            _send(question.subject, FORCED)
    except OSError:
        return  # it has ended: the next look finds it gone


def _send(subject: Subject, number: int) -> None:
    """For the first thread: another one would tell where it is itself, and nothing would wake the first."""
    if subject.child is not None:
        signal_first_thread(subject.pid, subject.child.process.pidfd, number)
        return
    pidfd = os.pidfd_open(subject.pid)  # the master's own child, which it has not waited for
    try:
        signal_first_thread(subject.pid, pidfd, number)
    finally:
        os.close(pidfd)


def _silence(question: _Question) -> str:
    status = read_status(question.subject.pid)
    if status is not None and status.state == "D":
        return SLEEPS
    if not question.forced:
        return (
            f"it has not come to signal {POLITE} within {ANSWER_TIME:g} s, and it may be in the middle of Python code"
        )
    return f"it has not answered signal {FORCED} within {ANSWER_TIME:g} s"


def _look_at(pid: int) -> Activity | None:
    """The first thread's state and CPU time (proc_pid_stat(5)); None if it is gone or hidden."""
    try:
        fields = read_stat(f"/proc/{pid}/task/{pid}/stat")
        return Activity(fields[STATE].decode(), int(fields[USER_TIME]) + int(fields[SYSTEM_TIME]))
    except (OSError, ValueError, IndexError):
        return None
