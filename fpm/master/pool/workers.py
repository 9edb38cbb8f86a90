"""The workers of one pool, of every generation. What happens to one comes through `happen`, which asks the table.

Rules of the file. The table decides, its actions are carried out here, by the termination, and by the pool (see
`fpm.master.pool.worker_reactions`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from fpm.events.base import PoolEvent
from fpm.events.master import ProcessMaxReached
from fpm.master.loop.fair_reader import Share
from fpm.master.pool.access_log import AccessLog
from fpm.master.pool.child import Child, WorkerEnd
from fpm.master.pool.current_config import CurrentConfig
from fpm.master.pool.history import MAX_MEMORY, Record
from fpm.master.pool.process_manager import Census
from fpm.master.pool.slow_requests import SlowRequests
from fpm.master.pool.stack_capture import StackCapture, read_current_request
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.termination import UNKNOWN, Actions, Change, WorkerTermination
from fpm.master.pool.worker_factory import WorkerFactory, free_slot
from fpm.master.pool.worker_messages import Recycling, WorkerMessages
from fpm.master.pool.worker_state import WorkerAction, WorkerEvent
from fpm.master.processes.exits import Exit, Usage
from fpm.master.services import Services
from fpm.master.slowlog.slow_log import SlowLog
from fpm.protocol.messages import ApplySettings, RecheckSockets, Reopen, Serve
from fpm.protocol.spec import WorkerSettings
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.stages import Stage
from fpm.system.proc_memory import read_resident


class Workers:
    """Keeper of a pool's workers."""

    def __init__(
        self,
        services: Services,
        current: CurrentConfig,
        access_log: AccessLog,
        record: Record,
        share: Share,
        stacks: StackCapture,
        slow_log: SlowLog,
        emit: Callable[[PoolEvent], None],
    ) -> None:
        self.services = services
        self._current = current
        self.record = record
        self.children: list[Child] = []
        self._access_log = access_log
        self.asked = 0
        """Workers that templates have been asked for since the beginning."""
        self.termination = WorkerTermination(services, stacks, self, emit)
        self._factory = WorkerFactory(services, current, share, record.exceptions, emit)
        self._recycling = Recycling(services, current, emit)
        self._slow_requests = SlowRequests(services, current, slow_log, emit)
        self._messages = WorkerMessages(services, share, self._recycling, self._slow_requests, self, emit)
        self.actions: Actions = self.termination.actions() | {
            WorkerAction.NOTE_READY: _note_ready,
            WorkerAction.SEND_SERVE: _send_serve,
            WorkerAction.BURY: self._bury,
        }
        """What is done for each action; the pool adds its part."""

    # ---------------------------------------------------------------- how many there are

    def census(self) -> Census:
        """Count those that the process manager counts: for each worker that starts, and there may be thousands."""
        states = Counter([child.state for child in self.children])
        starting = sum(count for state, count in states.items() if state.is_starting)
        leaving = sum(count for state, count in states.items() if state.is_leaving)
        ready = {state for state in states if state.is_counted and not state.is_starting}
        idle = sum(child.stage is Stage.ACCEPTING for child in self.children if child.state in ready)
        return Census(idle, sum(states[state] for state in ready) - idle, starting, leaving)

    def idle_children(self) -> list[tuple[float, Child]]:
        """List seconds idle and worker, the longest idle first."""
        now = self.services.loop.now
        found = [
            (now - _idle_since(child), child)
            for child in self.children
            if child.state.is_counted and not child.state.is_starting and child.stage is Stage.ACCEPTING
        ]
        return sorted(found, key=lambda pair: -pair[0])

    @property
    def has_serving(self) -> bool:
        """Does a worker serve?"""
        return any(child.state.is_serving for child in self.children)

    # ---------------------------------------------------------------- what happens to them

    def happen(
        self,
        child: Child,
        event: WorkerEvent,
        *,
        reason: str = "",
        timeout: float | None = None,
        error: str = "",
        traceback: str = "",
        exit_: Exit = UNKNOWN,
    ) -> None:
        """Let something happen to a worker, and do what the table says."""
        change = Change(event, child.state, reason, timeout, error, traceback, exit_)
        for action in child.advance(event, reason):
            self.actions[action](child, change)

    def retire(self, child: Child, reason: str, timeout: float | None = None) -> None:
        """Let it finish its request and leave; TERM after `timeout` seconds, KILL a second later."""
        self.happen(child, WorkerEvent.RETIRE, reason=reason, timeout=timeout)

    def recycle(self, child: Child, memory: int, request: str) -> None:
        """Replace one that the master has seen above pm.max_memory.

        Args:
            memory: bytes.
            request: the one that runs, or "".
        """
        former = child.state
        self.happen(child, WorkerEvent.LIMIT, reason=MAX_MEMORY)
        if child.state is not former:
            self._recycling.over_memory(child, memory, request)

    def exited(self, child: Child, exit_: Exit, usage: Usage | None = None) -> None:
        """A worker has ended."""
        if usage is not None:
            child.notes.usage = usage
        self._messages.read_last(child)
        self.happen(child, WorkerEvent.EXITED, exit_=exit_)

    def forked(self, template: TemplateProcess, slot: int, pid: int) -> None:
        """The template says which process it has forked for a slot.

        In a pid namespace it does not know by which pid the master knows it: the worker's first message tells.
        """
        for child in _of(self.children, template, slot):
            if not child.process.reported_pid:
                child.process.reported_pid = pid
                if not child.pid and "pid" not in template.spec.namespaces:
                    child.process.learn(pid, template.pid)
                self.happen(child, WorkerEvent.FORKED)

    def fork_failed(self, template: TemplateProcess, slot: int, error: str) -> None:
        """The template says that it could not fork for a slot, and why."""
        for child in _of(self.children, template, slot):
            child.notes.fork_error = error
            self.happen(child, WorkerEvent.FORK_FAILED, exit_=Exit(code=1))

    def template_gone(self, template: TemplateProcess) -> None:
        """What it has not forked yet will never be."""
        for child in _of(self.children, template):
            self.happen(child, WorkerEvent.NOT_FORKED)

    def find(self, pid: int, told_by: TemplateProcess | None = None) -> Child | None:
        """Find the worker with this pid.

        Args:
            told_by: the template that knows it as `pid`; in pid namespaces workers of others have the same one.
        """
        pids = (
            ((child.process.pid, child) for child in self.children)
            if told_by is None
            else ((child.process.reported_pid, child) for child in _of(self.children, told_by))
        )
        return next((child for known, child in pids if pid and known == pid), None)

    # ---------------------------------------------------------------- made, told, buried

    def request(self, template: TemplateProcess, board: Scoreboard, count: int) -> int:
        """Ask the template for workers; returns how many requests were sent."""
        allowed = self.services.budget.room(count)
        if allowed < count and not self.services.budget.warned:
            self.services.budget.warned = True
            self.services.emit(ProcessMaxReached())
        made = 0
        while made < allowed and self.request_one(template, board) is not None:
            made += 1
        return made

    def request_one(self, template: TemplateProcess, board: Scoreboard, *, on_trial: bool = False) -> Child | None:
        """Ask a template for one worker; None if it could not be asked.

        Args:
            on_trial: it accepts nothing before SERVE.
        """
        slot = free_slot(board, self.children)
        if slot is None:
            return None
        child = self._factory.request(template, slot, self._access_log.fd, on_trial=on_trial)
        if child is None:
            return None
        self.asked += 1
        self._add(child)
        self.termination.limit_start(child)
        return child

    def restore(self, template: TemplateProcess, board: Scoreboard, state: Mapping[str, Any]) -> None:
        """Go on with a worker that an upgrade has handed over."""
        child = self._factory.restore(template, board, state)
        self._add(child)
        self.happen(child, WorkerEvent.RESTORED)

    def apply(self, settings: WorkerSettings, *, log_changed: bool, template: TemplateProcess | None = None) -> None:
        """Let the running workers, of all templates or of one, serve by new settings."""
        fds = [self._access_log.fd] if log_changed and self._access_log.fd is not None else []
        for child in self.children:
            if template is None or child.template is template:
                # The scoreboard that it has mapped stays the one it was forked with.
                child.channel.send(ApplySettings(replace(settings, slots=child.board.slots)), fds)

    def reopen_logs(self) -> None:
        """Give every worker the present access log."""
        fds = [] if self._access_log.fd is None else [self._access_log.fd]
        for child in self.children:
            child.channel.send(Reopen(), fds)

    def _add(self, child: Child) -> None:
        self.children.append(child)
        self.services.budget.used += 1
        self._messages.watch(child)

    def _bury(self, child: Child, change: Change) -> None:
        """Keep what it has counted, free its slot, and give everything back."""
        self.children.remove(child)
        self.services.budget.used -= 1
        self.services.budget.warned = False
        child.close()
        self._slow_requests.cut_off(child)
        self._count_lost(child)
        slot = child.slot.retire(self.record.values, self.services.clock())
        child.notes.end = WorkerEnd(change.former, change.exit, slot, self.asked)
        if change.exit.signal is not None and change.former.has_started:
            # A client's arrival wakes one worker. If it was this one, in its last moment, nobody else knows of it.
            for other in self.children:
                if other.state.is_serving and not other.state.is_leaving:
                    other.channel.send(RecheckSockets())

    def _count_lost(self, child: Child) -> None:
        """Count its request, unless it has done so itself: before what it did after the response."""
        now, slot = self.services.loop.now, child.slot.read()
        work = read_current_request(child, now)
        if work.number and not slot.released:
            # It can have taken no longer than the worker has lived, whatever that has written.
            seconds = min(work.seconds, max(now - child.notes.started, 0.0))
            child.slot.count_lost(slot, seconds, by_route=self._current.config.request_statistics)


def _of(children: Iterable[Child], template: TemplateProcess, slot: int | None = None) -> list[Child]:
    return [child for child in children if child.template is template and slot in (None, child.slot.number)]


def _idle_since(child: Child) -> float:
    """Monotonic seconds; the scoreboard's clock is the epoch's, so only its distance from now is used."""
    slot, services = child.slot.read(), child.services
    if not slot.request_start:
        return child.notes.idle_since
    age = services.clock() - slot.request_start - slot.duration / 1e6
    return max(child.notes.idle_since, services.loop.now - max(age, 0.0))


def _note_ready(child: Child, change: Change) -> None:
    child.notes.cgroup = child.services.oom.learn(child.pid)
    child.notes.idle_since = child.services.loop.now
    child.notes.memory_at_start = max(child.notes.memory_at_start, read_resident(child.pid))
    child.clear_timer()


def _send_serve(child: Child, change: Change) -> None:
    child.notes.idle_since = child.services.loop.now
    child.channel.send(Serve())
