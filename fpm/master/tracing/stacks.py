"""Stacks of processes, for whoever wants one: by ptrace if that works, else by the process's own account.

Rules of the file. `done` is called exactly once, never within `take`, and no later than LIMIT, whatever the pool, the
template or the tracer do or leave undone. A pool whose processes are all slow to trace holds up no other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace
from enum import Enum

from fpm.master.loop.loop import Timer
from fpm.master.services import Services
from fpm.master.tracing.account import GONE
from fpm.master.tracing.fallback import Fallback
from fpm.master.tracing.queue import FairQueue
from fpm.master.tracing.subject import Subject
from fpm.master.tracing.subject import Wish
from fpm.stack.trace import Trace

LIMIT = 3.4
"""Seconds from the question to the answer, at the latest."""
LAYOUT_TIME = 1.0
"""Seconds from the question in which a template may say how its interpreter lays out memory."""
PTRACE_TIME = 2.2
"""Seconds from the question in which the tracer may answer; what is left is for the process's own account."""
AT_ONCE = 8
AT_ONCE_OF_POOL = 2
"""Questions that the tracer has at the same time: enough to keep it busy, few enough to be fair."""
WAITING_MAX = 4096
"""Questions of one pool that may wait."""

Done = Callable[[Trace], None]


class _Stage(Enum):
    BEGINNING = 0
    LAYOUT = 1
    QUEUE = 2
    PTRACE = 3
    ACCOUNT = 4
    DONE = 5


@dataclass(slots=True, eq=False)
class _Job:
    subject: Subject
    wish: Wish
    done: Done
    asked: float
    """Monotonic seconds."""
    stage: _Stage = _Stage.BEGINNING
    timer: Timer | None = None
    """What ends the present stage."""
    last: Timer | None = None
    """What ends it all."""


class Stacks:
    """Takes them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._fallback = Fallback(services)
        self._jobs: set[_Job] = set()
        self._queue: FairQueue[_Job] = FairQueue(WAITING_MAX)
        self._tracing: dict[int, str] = {}
        """Pid and pool of what the tracer has in hand."""
        self._closed = False

    def take(self, subject: Subject, wish: Wish, done: Done) -> None:
        """Take the stack of a process; `done` gets it, or a Trace whose `error` says why there is none."""
        loop = self._services.loop
        job = _Job(subject, wish, done, loop.now)
        self._jobs.add(job)
        job.timer = loop.call_later(0.0, lambda: self._begin(job))
        job.last = loop.call_later(LIMIT, lambda: self._fail(job, "nobody has answered in time"))

    def close(self) -> None:
        """The master ends: all who wait hear so."""
        self._closed = True
        self._fallback.close()
        for job in list(self._jobs):
            self._fail(job, "the master stops")

    # ---------------------------------------------------------------- the stages

    def _begin(self, job: _Job) -> None:
        if job.subject.is_gone():
            self._fail(job, GONE)
            return
        self._ask_process(job, "there is no tracer yet")

    def _ask_process(self, job: _Job, why: str) -> None:
        """Its own account, because of `why`."""
        self._enter(job, _Stage.ACCOUNT)

        def answered(answer: Trace | str) -> None:
            if job.stage is not _Stage.ACCOUNT:
                return
            if isinstance(answer, Trace):
                note = f"not by ptrace: {why}" + (f"; {answer.note}" if answer.note else "")
                self._finish(job, replace(answer, note=note))
            else:
                self._fail(job, GONE if answer == GONE else f"{why}; and by its own account neither: {answer}")

        self._fallback.ask(job.subject, job.wish.depth, answered)

    def _enter(self, job: _Job, stage: _Stage) -> None:
        job.stage = stage
        if job.timer is not None:
            job.timer.cancel()
            job.timer = None

    def _fail(self, job: _Job, why: str) -> None:
        self._finish(job, Trace(job.subject.pid, "", error=why))

    def _finish(self, job: _Job, trace: Trace) -> None:
        if job.stage is _Stage.DONE:
            return
        self._queue.discard(job.subject.pool, job)
        self._enter(job, _Stage.DONE)
        if job.last is not None:
            job.last.cancel()
        self._jobs.discard(job)
        job.done(trace)
