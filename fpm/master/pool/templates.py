"""The templates of one pool, 503 responders among them: each event goes to the table, and its actions are carried out.

What a template is for is a part of its state. What follows for the pool is done by those who have said that they do it:
the starter for the present template, the trial of a new generation, the responder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fpm.config.model import PoolConfig
from fpm.events.base import PoolEvent
from fpm.events.pool import ForkFailed as TemplateForkFailed
from fpm.events.pool import PlainHotPath, TemplateNotice, TemplateStarted
from fpm.events.pool import TemplateReady as TemplateIsReady
from fpm.events.pool import WarmupFailed as WarmupFailedEvent
from fpm.events.worker import MessageRefused, ProcessOutput
from fpm.frozen import dataclass
from fpm.master.listening.inherited import InheritedFds
from fpm.master.loop.channel import limit_lines, one_line
from fpm.master.pool.current_config import CurrentConfig
from fpm.master.pool.exits import PoolExits
from fpm.master.pool.shared_resources import SharedResources
from fpm.master.pool.template_factory import TemplateFactory
from fpm.master.pool.template_handover import dump_template
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.template_state import TemplateAction, TemplateEvent, TemplateState
from fpm.master.pool.template_termination import TemplateTermination
from fpm.master.pool.workers import Workers
from fpm.master.processes.exits import Exit, Usage, parse_status
from fpm.protocol.messages import (
    Event,
    Failed,
    Forked,
    ForkFailed,
    LogText,
    Notice,
    TemplateReady,
    WarmupFailed,
    WorkerExited,
    WorkerReady,
)
from fpm.protocol.spec import WorkerSettings
from fpm.protocol.wire import MessageError

AFTER_RETIRING = "it had been told to exit with the last of its workers, which serve on"
AFTER_RESPONDING = "it had been told to exit, for the pool has workers again"


@dataclass(frozen=True, slots=True)
class TemplateEnd:
    """Why a template has ended, as far as is known."""

    error: str
    traceback: str
    is_logged: bool
    """The traceback is in the log already, as what the template has written before its end."""


OnEvent = Callable[[TemplateProcess], None]
OnEnd = Callable[[TemplateProcess, TemplateEnd], str]
"""Returns what happens next, for the log and the status."""


class Templates:
    """All templates of a pool that have not been reaped."""

    def __init__(
        self,
        factory: TemplateFactory,
        current: CurrentConfig,
        workers: Workers,
        exits: PoolExits,
        termination: TemplateTermination,
        gone: Callable[[TemplateProcess], None],
        emit: Callable[[PoolEvent], None],
    ) -> None:
        """`gone`: called when one has ended, after everything else that follows from it."""
        self.on_event: dict[TemplateAction, OnEvent] = {}
        """Who carries out TELL_READY and TELL_TRIAL_READY."""
        self.on_end: dict[TemplateAction, OnEnd] = {TemplateAction.REPORT: _report}
        """Who carries out FAIL_POOL, FAIL_TRIAL, RENEW and RENEW_RESPONDER."""
        self._factory = factory
        self._current = current
        self._workers = workers
        self._exits = exits
        self._termination = termination
        self._gone = gone
        self._emit = emit
        self._processes: list[TemplateProcess] = []

    @property
    def present(self) -> TemplateProcess | None:
        """The pool's template, by which it makes its workers."""
        return next((one for one in self._processes if one.state.is_present), None)

    @property
    def has_responder(self) -> bool:
        """Is there a 503 responder, or one that has been told to leave?"""
        return any(one.state.is_responder for one in self._processes)

    @property
    def are_current(self) -> bool:
        """Is none of them of another generation than the present one?"""
        return all(one.state.is_present or one.state.is_responder for one in self._processes)

    def all(self) -> list[TemplateProcess]:
        """Every template and responder that has not been reaped."""
        return list(self._processes)

    def find(self, pid: int) -> TemplateProcess | None:
        """The one with this pid."""
        return next((template for template in self._processes if template.pid == pid), None)

    def start(
        self, config: PoolConfig, shared: SharedResources, state: TemplateState, generation: int
    ) -> TemplateProcess:
        """Execute one; `state` says what it is for.

        Raises:
            OSError: it cannot be executed, or there are no descriptors or processes left.
        """
        template = self._factory.make(config, shared, state, generation, self)
        self._processes.append(template)
        if not state.is_responder:
            self._emit(TemplateStarted(generation, pool=self._name, pid=template.pid))
        return template

    def await_exits(self) -> None:
        """See to it that those which have been told to leave do so, as soon as they have no worker."""
        occupied = {id(child.template) for child in self._workers.children}
        for template in self._processes:
            if template.state.is_told_to_leave and id(template) not in occupied:
                self._termination.await_exit(template)

    def apply(self, settings: WorkerSettings) -> None:
        """Have workers forked with these settings from now on."""
        for template in self._processes:
            if not template.state.is_responder:
                template.apply(settings)

    def stop(self, timeout: float) -> None:
        """Have them leave when their last worker has left, which has `timeout` seconds for it."""
        for template in self.all():
            self.happen(template, TemplateEvent.STOP)
        self._termination.watch_stop(self._processes, timeout)

    def kill_all(self) -> None:
        """SIGKILL to all process groups of the pool."""
        for template in self.all():
            self.happen(template, TemplateEvent.KILL)

    def close(self) -> None:
        """Give all descriptors back."""
        self._termination.close()
        for template in self._processes:
            template.close()

    # ---------------------------------------------------------------- an upgrade of pyfpm

    def dump(self, kept: InheritedFds, ended: Iterable[TemplateProcess]) -> list[dict[str, Any]]:
        """Describe them for the next master, and those that have ended and left workers behind."""
        return [dump_template(template, kept) for template in [*self._processes, *ended]]

    def restore(self, states: Iterable[dict[str, Any]]) -> dict[int, TemplateProcess]:
        """Go on where `dump` was; returns all by their pids. One that is not the pool's template leaves."""
        restored = [self._factory.restore(self._current.resolved, state, self) for state in states]
        self._processes = [one for one in restored if one.state is not TemplateState.GONE]
        for template in self.all():
            self.happen(template, TemplateEvent.UPGRADED)
        return {template.pid: template for template in restored}

    # ---------------------------------------------------------------- what happens

    def happen(self, template: TemplateProcess, event: TemplateEvent) -> None:
        """Change a template's state, and do what the table says."""
        for action in template.take(event):
            if action is TemplateAction.SEND_QUIT:
                template.send_quit()
                self.await_exits()
            elif action is TemplateAction.KILL_GROUP:
                template.kill_group()
            elif action is TemplateAction.KILL_ALONE:
                template.kill_alone()
            elif action is TemplateAction.SAY_KILLED:
                self._termination.say_killed(template, event)
            elif action is TemplateAction.EXPLAIN_START:
                self._termination.explain_start(template)
            else:
                self.on_event[action](template)

    def gone(self, template: TemplateProcess, exit_: Exit, usage: Usage) -> None:
        """Do what follows from the end of a template, which has been reaped."""
        template.close()
        self._processes.remove(template)
        death = self._exits.examine_template(template, exit_, usage)
        why = f", out of memory: {death.oom_note}" if death.oom == "yes" else ""
        before = " before it had forked a worker" if template.state is TemplateState.READY else ""
        error, traceback = template.failure or (f"its template exited {exit_}{before}{why}", "")
        end = TemplateEnd(error, traceback or template.last_words.text(), is_logged=template.failure is None)
        for action in template.take(TemplateEvent.LEFT if exit_.code == 0 else TemplateEvent.DIED):
            next_ = self.on_end[action](template, end)
            is_told = action in (TemplateAction.FAIL_POOL, TemplateAction.FAIL_TRIAL)
            self._exits.tell(death, next_, self._current.config, status=exit_.status, is_logged=is_told)
        self._gone(template)

    def on_message(self, template: TemplateProcess, message: Event | MessageError) -> None:
        """Take a message from one of them; it is believed as far as its own pool is concerned."""
        match message:
            case TemplateReady() if template.state.is_importing:
                template.learn(message)
                self._emit(TemplateIsReady(template.generation, pool=self._name, pid=template.pid))
                if reason := one_line(self._current.hot_paths.note(template.generation, message)):
                    self._emit(PlainHotPath(template.generation, reason, pool=self._name))
                self.happen(template, TemplateEvent.READY)
            case Failed() if template.state.is_importing:
                template.failure = (one_line(message.error), limit_lines(message.traceback))
                self.happen(template, TemplateEvent.FAILED)
            case WorkerReady() if template.state.is_responder:
                template.own_stack.listens = message.stack
            case Notice() | LogText():  # the text is the 503 responder's
                self._emit(TemplateNotice(limit_lines(message.text), pool=self._name, pid=template.pid))
            case WarmupFailed():
                request, problem = one_line(message.request), limit_lines(message.problem)
                self._emit(WarmupFailedEvent(request, problem, pool=self._name, pid=template.pid))
            case Forked():
                self.happen(template, TemplateEvent.FORKED)
                self._workers.forked(template, message.slot, message.pid)
            case ForkFailed():
                error = one_line(message.error)
                self._emit(TemplateForkFailed(error, pool=self._name, pid=template.pid))
                self._workers.fork_failed(template, message.slot, error)
            case WorkerExited():
                self._worker_exited(template, message)
            case MessageError() if not template.channel.has_refused:
                template.channel.has_refused = True
                self._emit(MessageRefused("template", str(message), pool=self._name, pid=template.pid))

    def _worker_exited(self, template: TemplateProcess, message: WorkerExited) -> None:
        child = self._workers.find(message.pid, told_by=template)
        if child is not None:
            usage = Usage(message.user, message.system, message.maxrss << 10)
            self._workers.exited(child, parse_status(message.status), usage)

    def write_line(self, template: TemplateProcess, stream: str, line: str, closed: bool) -> None:
        """Log what one of them has written."""
        self._emit(ProcessOutput("template", stream, line, is_closed=closed, pool=self._name, pid=template.pid))

    @property
    def _name(self) -> str:
        return self._current.config.name


def _report(template: TemplateProcess, end: TemplateEnd) -> str:
    return AFTER_RESPONDING if template.spec.mode == "unavailable" else AFTER_RETIRING
