"""Takes stacks of processes: by ptrace if that works, else the process writes its stack itself.

`done` is called exactly once, never within `take`, and no later than LIMIT, whatever the pool, the template or the
tracer do or leave undone. A pool whose processes are all slow to trace holds up no other.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, replace
from enum import Enum

from fpm.config.model import PoolConfig
from fpm.master.core import Core
from fpm.master.loop.loop import Timer
from fpm.master.loop.read_budget import ReadBudget
from fpm.master.tracing.diagnosis import Diagnosis
from fpm.master.tracing.queue import FairQueue
from fpm.master.tracing.signal_dump import SignalDump
from fpm.master.tracing.trace_target import TraceDone, TraceOptions, TraceTarget
from fpm.master.tracing.tracer_process import TracerProcess
from fpm.protocol.tracing import DEPTH_MAX, TraceTask
from fpm.stacks.credentials import GONE, STRANGER
from fpm.stacks.layout import Layout
from fpm.stacks.trace import ThreadStack, Trace
from fpm.system.proc_stat import STARTED, read_stat

LIMIT = 3.4
"""Seconds from the question to the answer, at the latest."""
LAYOUT_TIME = 1.5
"""Seconds from the question in which a template may say how its interpreter lays out memory."""
PTRACE_TIME = 2.2
"""Seconds from the question in which the tracer may answer; what is left is for the process itself."""
SOON = 0.1
AT_ONCE = 8
AT_ONCE_OF_POOL = 2
"""Questions that the tracer has at the same time: enough to keep it busy, few enough to be fair."""
WAITING_MAX = 4096
"""Questions of one pool that may wait."""


class _Stage(Enum):
    BEGINNING = 0
    LAYOUT = 1
    QUEUE = 2
    PTRACE = 3
    SIGNAL = 4
    DONE = 5


@dataclass(slots=True, eq=False)
class _Job:
    target: TraceTarget
    options: TraceOptions
    done: TraceDone
    asked: float
    """Monotonic seconds."""
    layout: Layout | None = None
    why: str = ""
    """Why there is no layout."""
    seen: tuple[ThreadStack, ...] = ()
    """What the tracer has seen of the threads, where it could not read their frames."""
    stage: _Stage = _Stage.BEGINNING
    timer: Timer | None = None
    """What ends the present stage."""
    last: Timer | None = None
    """What ends it all."""


class Stacks:
    """Takes stacks, several at a time, with one tracer for all pools."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._tracer = TracerProcess(core)
        self._signal_dump = SignalDump(core, self._spend)
        self._diagnosis = Diagnosis(core, self.take)
        self._jobs: set[_Job] = set()
        self._queue: FairQueue[_Job] = FairQueue(WAITING_MAX)
        self._tracing: dict[int, str] = {}
        """Pid and pool of the processes that are being traced; a process has room for one tracer only."""
        self._accounts: defaultdict[str, ReadBudget] = defaultdict(ReadBudget)
        """Of each pool, for the time that its stacks take, here and in the tracer."""
        self._again: Timer | None = None

    def take(self, target: TraceTarget, options: TraceOptions, done: TraceDone) -> None:
        """Take the stack of a process."""
        loop = self._core.loop
        job = _Job(target, options, done, loop.now)
        self._jobs.add(job)
        job.timer = loop.call_later(0.0, lambda: self._begin(job))
        job.last = loop.call_later(LIMIT, lambda: self._fail(job, "nobody has answered in time"))

    def template_ready(self, config: PoolConfig, template: TraceTarget) -> None:
        """Find out whether stacks can be taken, if limits of this pool lead to any, and tell it to the log."""
        self._diagnosis.examine(config, template)

    @property
    def diagnosis(self) -> str:
        """What is wrong with taking stacks by ptrace, as far as it is known; "" if nothing is."""
        return self._diagnosis.text

    def close(self) -> None:
        """Tell all who wait that the master stops."""
        if self._again is not None:
            self._again.cancel()
        self._signal_dump.close()
        for job in list(self._jobs):
            self._fail(job, "the master stops")
        self._tracer.close()

    # ---------------------------------------------------------------- the stages

    def _begin(self, job: _Job) -> None:
        if job.target.is_gone():
            self._fail(job, GONE)
            return
        if job.target.is_stranger():
            self._fail(job, STRANGER)
            return
        self._enter(job, _Stage.LAYOUT, LAYOUT_TIME, "the template has not measured its interpreter yet; try again")
        job.target.request_layout(lambda answer: self._on_layout(job, answer))

    def _on_layout(self, job: _Job, answer: Layout | str) -> None:
        if job.stage is not _Stage.LAYOUT:
            return
        if isinstance(answer, str):
            job.why = answer  # the tracer can tell what the threads do all the same
        else:
            job.layout = answer
        self._enter(job, _Stage.QUEUE, PTRACE_TIME, "the tracer had too many others to look at")
        if self._queue.add(job.target.pool, job):
            self._next()
        else:
            self._ask_process(job, "too many stacks of this pool are wanted at once")

    def _next(self) -> None:
        """Give the tracer as many tasks as it may have at a time."""
        while len(self._tracing) < AT_ONCE:
            job = self._queue.take(self._has_room, self._may_trace)
            if job is None:
                self._look_again()
                return
            self._trace(job)

    def _look_again(self) -> None:
        """Those that wait may be of pools that have used up their time."""
        if len(self._queue) and self._again is None:
            self._again = self._core.loop.call_later(SOON, self._next_again)

    def _next_again(self) -> None:
        self._again = None
        self._next()

    def _spend(self, pool: str, seconds: float) -> None:
        self._accounts[pool].spend(seconds, time.monotonic())

    def _has_time(self, job: _Job) -> bool:
        return job.options.is_asked_for or self._accounts[job.target.pool].pause(time.monotonic()) == 0.0

    def _may_trace(self, job: _Job) -> bool:
        return job.target.pid not in self._tracing and self._has_time(job)

    def _has_room(self, pool: str) -> bool:
        return sum(1 for one in self._tracing.values() if one == pool) < AT_ONCE_OF_POOL

    def _trace(self, job: _Job) -> None:
        target, options = job.target, job.options
        pid = target.pid
        self._tracing[pid] = target.pool
        self._enter(job, _Stage.PTRACE, PTRACE_TIME, "the tracer has not answered in time")
        task = TraceTask(
            pid,
            started=_read_start(pid),
            ids=list(target.ids),
            layout=job.layout,
            depth=options.depth or DEPTH_MAX,
            native=options.native,
            values=options.values,
            seconds=max(job.asked + PTRACE_TIME - self._core.loop.now, SOON),
        )

        def answered(trace: Trace) -> None:
            del self._tracing[pid]
            if not options.is_asked_for:
                self._spend(target.pool, trace.cost)
            self._next()
            self._on_trace(job, trace)

        self._tracer.trace(task, answered)

    def _on_trace(self, job: _Job, trace: Trace) -> None:
        if job.stage is not _Stage.PTRACE:
            return  # it came too late
        if trace.threads and job.layout is not None and not trace.error:
            self._finish(job, trace)
        else:
            job.seen = trace.threads
            self._ask_process(job, trace.error or job.why or "the tracer has seen no thread")

    def _ask_process(self, job: _Job, why: str) -> None:
        """Have the process write its stack itself, because of `why`."""
        if not self._has_time(job):
            self._fail(job, "stacks of its pool have taken more of the processor than its share")
            return
        self._enter(job, _Stage.SIGNAL)

        def answered(answer: Trace | str) -> None:
            if job.stage is not _Stage.SIGNAL:
                return
            if isinstance(answer, Trace):
                note = f"not by ptrace: {why}" + (f"; {answer.note}" if answer.note else "")
                self._finish(job, replace(answer, threads=_join(answer.threads, job.seen), note=note))
            elif answer == GONE:
                self._fail(job, GONE)
            else:
                doing = next((f" (it is {one.doing})" for one in job.seen if one.main and one.doing), "")
                self._fail(job, f"{why}; and it does not tell itself: {answer}{doing}")

        self._signal_dump.ask(job.target, job.options.depth, answered)

    def _enter(self, job: _Job, stage: _Stage, until: float = 0.0, otherwise: str = "") -> None:
        """Begin the next stage; if it lasts until `until` seconds after the question, the process itself is asked."""
        job.stage = stage
        self._queue.discard(job.target.pool, job)
        if job.timer is not None:
            job.timer.cancel()
            job.timer = None
        if otherwise:
            left = max(job.asked + until - self._core.loop.now, 0.0)
            job.timer = self._core.loop.call_later(left, lambda: self._ask_process(job, otherwise))

    def _fail(self, job: _Job, why: str) -> None:
        self._finish(job, Trace(job.target.pid, "", error=why))

    def _finish(self, job: _Job, trace: Trace) -> None:
        if job.stage is _Stage.DONE:
            return
        self._enter(job, _Stage.DONE)
        if job.last is not None:
            job.last.cancel()
        self._jobs.discard(job)
        begin = time.monotonic()
        job.done(trace)
        self._spend(job.target.pool, time.monotonic() - begin)


def _join(told: tuple[ThreadStack, ...], seen: tuple[ThreadStack, ...]) -> tuple[ThreadStack, ...]:
    """Join the frames that a process has written with what the tracer has seen its threads do."""
    doing = {thread.tid: thread.doing for thread in seen if thread.doing}
    return tuple(replace(thread, doing=doing.get(thread.tid, thread.doing)) for thread in told)


def _read_start(pid: int) -> int:
    """Read a process's start time in clock ticks since boot (/proc/PID/stat, proc(5)); 0: it is gone.

    Together with the pid it names one process, while a pid alone may be used again.
    """
    try:
        return int(read_stat(f"/proc/{pid}/stat")[STARTED])
    except (OSError, ValueError, IndexError):
        return 0
