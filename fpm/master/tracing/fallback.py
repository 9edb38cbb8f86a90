"""Stacks that processes write themselves, on a signal: for where ptrace is forbidden.

Rules of the file. A process that does not catch the signal never gets it, for it would die of it. Nothing waits: the
answer is looked for again and again with growing pauses, for ANSWER_TIME at most.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from fpm.master.loop.loop import Timer
from fpm.master.services import Services
from fpm.master.tracing.account import GONE
from fpm.master.tracing.account import SLEEPS
from fpm.master.tracing.account import obstacle
from fpm.master.tracing.account import read_account
from fpm.master.tracing.subject import Subject
from fpm.pool.own_stack import NUMBER
from fpm.stack.trace import Trace
from fpm.tracer.credentials import Status
from fpm.tracer.rights import read_status

ANSWER_TIME = 1.0
"""Seconds that a process has for its answer."""
FIRST_LOOK = 0.002
SIGNALS = 2
"""A second stack is asked for at once: the kernel keeps it back until the first is written (the signal is blocked
during its own handler), so its beginning says that the first is complete."""

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
    timer: Timer | None = None
    pause: float = FIRST_LOOK


class Fallback:
    """Asks, and looks for answers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._asked: dict[int, _Question] = {}

    def ask(self, subject: Subject, depth: int, done: Done) -> None:
        """Ask a process for its stack; `done` gets it, or the reason, within about ANSWER_TIME or at once."""
        asked = self._asked.get(subject.pid)
        if asked is not None:
            asked.waiting.append(done)
            asked.depth = max(asked.depth, depth) if asked.depth and depth else 0
            return
        status = read_status(subject.pid)
        own = subject.own_stack
        reason = obstacle(status, number=NUMBER, ready=subject.is_ready, listens=own.listens)
        if subject.is_gone():
            reason = GONE
        if not reason:
            reason = self._send(subject)
        if reason:
            done(reason)
            return
        question = _Question(subject, status, self._services.loop.now + ANSWER_TIME, depth, [done])
        self._asked[subject.pid] = question
        self._look_later(question)

    def close(self) -> None:
        """No more answers; who waits hears nothing."""
        for question in self._asked.values():
            if question.timer is not None:
                question.timer.cancel()
        self._asked.clear()

    def _send(self, subject: Subject) -> str:
        try:
            subject.own_stack.empty()
            for _ in range(SIGNALS):
                if subject.child is not None:
                    signal.pidfd_send_signal(subject.child.pidfd, NUMBER)
                else:
                    os.kill(subject.pid, NUMBER)  # the master's own child, which it has not waited for
        except ProcessLookupError:
            return GONE
        except OSError as error:
            return f"it cannot be sent signal {NUMBER}: {error.strerror}"
        return ""

    def _look_later(self, question: _Question) -> None:
        question.timer = self._services.loop.call_later(question.pause, lambda: self._look(question))
        question.pause *= 2

    def _look(self, question: _Question) -> None:
        subject = question.subject
        own = subject.own_stack
        final = self._services.loop.now + question.pause > question.until
        data = own.read() if own.fd >= 0 else b""
        trace = read_account(subject.pid, data, question.status, depth=question.depth, final=final)
        if trace is not None:
            self._finish(question, trace)
        elif own.fd < 0 or subject.is_gone():
            self._finish(question, GONE)
        elif final:
            self._finish(question, self._silence(subject))
        else:
            self._look_later(question)

    def _silence(self, subject: Subject) -> str:
        status = read_status(subject.pid)
        sleeps = status is not None and status.state == "D"
        return SLEEPS if sleeps else f"it has not answered signal {NUMBER} within {ANSWER_TIME:g} s"

    def _finish(self, question: _Question, answer: Trace | str) -> None:
        del self._asked[question.subject.pid]
        for done in question.waiting:
            done(answer)
