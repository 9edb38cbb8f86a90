"""The stack of a pool's process at a moment that matters: into the slow log, and kept for the certificate of its death.

Nothing is ended before its stack has come or the reason why there is none; who waits for it bounds the time himself.
"""

from __future__ import annotations

from fpm.config.model import PoolConfig
from fpm.frozen import dataclass
from fpm.log.escape import decode_wire
from fpm.master.pool.child import Child
from fpm.master.pool.current_config import CurrentConfig
from fpm.master.pool.deadlines import RUNNING, is_over
from fpm.master.pool.death_report import name_task, name_undone
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.trace_targets import TemplateTarget, WorkerTarget
from fpm.master.services import Services
from fpm.master.slowlog.slow_log import SlowLog
from fpm.master.tracing.trace_target import TraceDone, TraceOptions
from fpm.scoreboard.snapshot import Slot
from fpm.scoreboard.stages import DOING, Stage
from fpm.stacks.text.entry import Entry, Reason
from fpm.stacks.trace import Trace

_OF_REQUESTS = ("slow", "interrupt", "terminate", "background")
"""Reasons that hold only while there is a request."""


@dataclass(frozen=True, slots=True)
class CurrentRequest:
    """The request of a worker at one moment. It says so itself: nothing of it is believed beyond its own pool."""

    number: int
    """As the worker counts; 0: there is no request."""
    stage: Stage
    method: str = ""
    uri: str = ""
    """Path and query."""
    script: str = ""
    seconds: float = 0.0
    """Since the request's variables were there, or since the process was made."""
    task: str = ""
    """The function that runs after the response."""
    undone: str = ""
    """Those that wait for it."""

    @property
    def name(self) -> str:
        """Method and URI, as decoded and not escaped; "" without a request."""
        return f"{self.method} {self.uri}" if self.number else ""

    @property
    def doing(self) -> str:
        """What is unusual about the stage, in words; "" while it runs."""
        parts = [
            DOING[self.stage] if self.stage is not Stage.EXECUTING else "",
            f"in {self.task}" if self.task else "",
            f"not begun: {self.undone}" if self.undone else "",
        ]
        return ", ".join(filter(None, parts)) if self.number else ""


def read_current_request(child: Child, now: float) -> CurrentRequest:
    """Read what a worker does.

    Args:
        now: monotonic seconds.
    """
    stage = child.stage  # before the slot, see deadlines.decide_timeout
    slot = child.slot.read()
    if stage not in RUNNING or is_over(stage, slot):
        return CurrentRequest(0, stage, seconds=now - child.notes.started)
    began = slot.began if 0.0 < slot.began <= now else now
    return CurrentRequest(
        max(slot.requests, 1),
        stage,
        decode_wire(slot.method),
        _uri_of(slot),
        decode_wire(slot.script),
        now - began,
        name_task(slot) if stage is Stage.FINISHED else "",
        name_undone(slot),
    )


def _uri_of(slot: Slot) -> str:
    return decode_wire(f"{slot.uri}{'?' if slot.query else ''}{slot.query}")


class StackCapture:
    """Takes the stacks of one pool's processes."""

    def __init__(self, services: Services, current: CurrentConfig, slow_log: SlowLog) -> None:
        self._services = services
        self._current = current
        self._slow_log = slow_log

    @property
    def config(self) -> PoolConfig:
        """The configuration in force."""
        return self._current.config

    def take(self, child: Child, reason: Reason, done: TraceDone | None = None, *, sample: int = 1) -> None:
        """Take a worker's stack.

        It is written unless the request, if there was one, has ended meanwhile; then there is nothing to explain.

        Args:
            done: called once, later, with the stack, or with a Trace that says why there is none.
            sample: how many times this request has been looked at.
        """
        before = read_current_request(child, self._services.loop.now)
        config, pid = self.config, child.process.name

        def finish(trace: Trace) -> None:
            if not child.process.is_gone():
                work = read_current_request(child, self._services.loop.now)
                if work.number == before.number and (work.number or reason not in _OF_REQUESTS):
                    child.notes.last_stack, child.notes.stack_request = trace, before.number
                    child.notes.stack_name = (work.method, work.uri)
                    self._write(work, pid, reason, sample, trace)
            if done is not None:
                done(trace)

        options = TraceOptions(config.request_slowlog_trace_depth, config.slowlog_native)
        self._services.stacks.take(WorkerTarget(child, pid), options, finish)

    def take_of_template(self, template: TemplateProcess, reason: Reason, done: TraceDone) -> None:
        """The stack of a template that does not start, does not fork, or does not leave in time."""
        config = self.config
        started = template.started

        def finish(trace: Trace) -> None:
            if trace.threads:
                stage = Stage.CREATING if reason == "startup" else Stage.END
                work = CurrentRequest(0, stage, seconds=self._services.loop.now - started)
                self._write(work, template.pid, reason, 1, trace)
            done(trace)

        options = TraceOptions(config.request_slowlog_trace_depth, config.slowlog_native)
        self._services.stacks.take(TemplateTarget(template, template.pid), options, finish)

    def _write(self, work: CurrentRequest, pid: int, reason: Reason, sample: int, trace: Trace) -> None:
        self._slow_log.write(
            Entry(
                time=self._services.clock(),
                pool=self.config.name,
                pid=pid,
                reason=reason,
                script=work.script or self.config.app,
                method=work.method,
                uri=work.uri,
                seconds=work.seconds,
                stage=DOING[work.stage],
                sample=sample,
                trace=trace,
            )
        )


def explain(trace: Trace | None) -> str:
    """Say where the stack of a process that is ended is, or why there is none, as the end of a line."""
    why = why_no_stack(trace)
    return f"; {why}" if why else ""


def why_no_stack(trace: Trace | None) -> str:
    """Say why there is no stack of a process, as a clause; "" if there is one."""
    if trace is None:
        return "its stack was not read in time"
    return f"no stack: {trace.error}" if not trace.threads else ""
