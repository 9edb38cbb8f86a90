"""What a pool does when something happens to one of its workers: its part of the actions of the worker's table."""

from __future__ import annotations

from typing import Protocol

from fpm.config.model import PoolConfig
from fpm.events.base import PoolEvent
from fpm.events.pool import EmergencyRestart
from fpm.events.worker import WorkerKept, WorkerStarted
from fpm.master.pool.child import Child
from fpm.master.pool.death_report import RestartPlan, next_step
from fpm.master.pool.exits import PoolExits
from fpm.master.pool.generations import Generations
from fpm.master.pool.header import PoolHeader
from fpm.master.pool.pool_state import PoolState, PoolTrigger
from fpm.master.pool.scaling import Scaler
from fpm.master.pool.template_starter import TemplateStarter
from fpm.master.pool.termination import Actions, Change
from fpm.master.pool.timeouts import RequestTimeouts
from fpm.master.pool.worker_state import WorkerAction, WorkerEvent, WorkerState
from fpm.master.pool.workers import Workers
from fpm.master.processes.backoff import EmergencyWindow
from fpm.master.processes.exits import Exit
from fpm.master.services import Services

HOPELESS = 3
"""Workers that die in a row before they serve, until the pool is said to have failed."""


class Pool(Protocol):
    """A pool, as far as the events of its workers concern it."""

    services: Services
    state: PoolState
    workers: Workers
    starter: TemplateStarter
    scaler: Scaler
    header: PoolHeader
    timeouts: RequestTimeouts
    exits: PoolExits
    generations: Generations

    @property
    def config(self) -> PoolConfig:
        """The configuration in force."""

    def happen(self, trigger: PoolTrigger) -> None:
        """Change the pool's state."""

    def check_empty(self) -> None:
        """A process has gone."""

    def changed(self) -> None:
        """A worker serves."""

    def emit(self, event: PoolEvent) -> None:
        """Something has happened in this pool."""


class WorkerReactions:
    """Reacts for one pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._emergency = EmergencyWindow()
        self._failed_at = 0.0
        """Monotonic seconds of the last failure that workers have told of."""

    def actions(self) -> Actions:
        """List what it carries out."""
        return {
            WorkerAction.TELL_READY: self._on_ready,
            WorkerAction.TELL_SERVING: self._on_serving,
            WorkerAction.TELL_TRIAL_READY: self._on_trial_ready,
            WorkerAction.FAIL_START: self._fail_start,
            WorkerAction.FAIL_TRIAL: self._fail_trial,
            WorkerAction.REPLACE: self._replace,
            WorkerAction.REFILL: self._refill,
            WorkerAction.RESPAWN: self._respawn,
            WorkerAction.CERTIFY: self._certify,
        }

    def serve_on(self) -> None:
        """There is nothing to replace the workers that are at their limit."""
        for child in self._pool.workers.children:
            if child.state is WorkerState.AT_LIMIT:
                name = self._pool.config.name
                self._pool.emit(WorkerKept(child.retire_reason, pool=name, pid=child.pid))
                self._pool.workers.happen(child, WorkerEvent.SERVE)

    # ---------------------------------------------------------------- the beginning

    def _on_ready(self, child: Child, change: Change) -> None:
        pool = self._pool
        pool.timeouts.watch()
        pool.emit(WorkerStarted(pool.state.is_settled, pool=pool.config.name, pid=child.pid))
        self._note_serving()

    def _on_serving(self, child: Child, change: Change) -> None:
        self._pool.timeouts.watch()
        self._note_serving()

    def _note_serving(self) -> None:
        pool = self._pool
        failed = pool.starter.failures.failure is not None
        pool.starter.clear_failure()
        if failed:
            pool.header.write()
        if not pool.state.is_stopping:
            pool.scaler.worker_ready()
        all_ready = pool.workers.census().starting == 0
        pool.happen(PoolTrigger.ALL_READY if all_ready else PoolTrigger.WORKER_READY)
        pool.changed()

    def _on_trial_ready(self, child: Child, change: Change) -> None:
        if self._pool.generations.trial is not None:
            self._pool.generations.trial.worker_ready(child)

    def _fail_start(self, child: Child, change: Change) -> None:
        self._fail(child, change.error, change.traceback)

    def _fail_trial(self, child: Child, change: Change) -> None:
        trial = self._pool.generations.trial
        if trial is None:
            return
        if change.event in (WorkerEvent.FAILED, WorkerEvent.GIVE_UP, WorkerEvent.OVER_MEMORY):
            trial.worker_failed(child, change.error or change.reason, change.traceback)
        elif change.event is WorkerEvent.SILENT:
            trial.worker_failed(child, "its first worker has closed its channel", child.notes.last_words.text())
        else:
            trial.worker_gone(child, change.exit)

    def _fail(self, child: Child, error: str, traceback: str) -> None:
        """A worker cannot start: one failure for all that were made before it is noticed."""
        if child.notes.started >= self._failed_at:
            self._failed_at = self._pool.services.loop.now
            self._pool.starter.fail(error, traceback)

    # ---------------------------------------------------------------- its place, and its end

    def _replace(self, child: Child, change: Change) -> None:
        if not child.template.preload:
            # Its replacement has to import the application first, which may take long, or fail.
            self._pool.workers.happen(child, WorkerEvent.SERVE)
        self._pool.scaler.replace_one()

    def _refill(self, child: Child, change: Change) -> None:
        pool = self._pool
        if pool.state.is_stopping:
            return
        requests = child.slot.read().requests
        if change.event is WorkerEvent.OVER_MEMORY and not requests:
            # The next one will be as large: a pause that grows.
            pool.scaler.worker_died(pool.services.loop.now - child.notes.started, requests)
        else:
            pool.scaler.refill()

    def _respawn(self, child: Child, change: Change) -> None:
        """Make another; several in a row that end before they serve, and nobody who does: the pool has failed."""
        pool, end = self._pool, child.notes.end
        if pool.state.is_stopping or end is None:
            return
        pool.scaler.worker_died(pool.services.loop.now - child.notes.started, end.slot.requests)
        has_served = not end.state.is_starting or end.slot.requests > 0
        if has_served or pool.workers.has_serving or child.notes.started < self._failed_at:
            return
        count = pool.scaler.deaths_in_a_row
        if count >= HOPELESS:
            # What is wrong may have been mended meanwhile: the next try is one with a new template.
            pool.starter.retire()
            last = f"the last one, child {child.process.name}, exited {end.exit}"
            self._fail(child, f"its workers end before they serve, {count} in a row; {last}", "")

    def _certify(self, child: Child, change: Change) -> None:
        pool, end = self._pool, child.notes.end
        if end is None:
            return
        death = pool.exits.examine_worker(child, end)
        pool.header.write()
        if not pool.state.is_stopping and not end.state.is_on_trial:
            pool.scaler.evaluate()
        if death is not None:
            next_ = next_step(self._restart_plan(child, made=pool.workers.asked > end.asked))
            has_told = bool(child.notes.exit_calls) and end.exit.code is not None
            pool.exits.tell(death, next_, pool.config, status=end.exit.status, has_told=has_told)
            pool.header.write()
        if end.exit.is_emergency:
            self._count_emergency(child.process.name, end.exit)
        pool.check_empty()

    def _restart_plan(self, child: Child, *, made: bool) -> RestartPlan:
        pool, end = self._pool, child.notes.end
        present, failures = pool.starter.templates.present, pool.starter.failures
        former = end.state if end is not None else child.state
        has_failed = failures.failure is not None and not pool.workers.has_serving
        return RestartPlan(
            made=made,
            stopping=pool.state.is_stopping,
            on_trial=former.is_on_trial,
            told="reload" if former is WorkerState.SUPERSEDED else child.retire_reason,
            failed_for=failures.pause(pool.services.loop.now) if has_failed else None,
            pause=pool.scaler.pause,
            failures=pool.scaler.deaths_in_a_row,
            ondemand=pool.config.pm == "ondemand",
            has_template=present is not None and present.state.can_fork,
            is_missing=pool.scaler.is_short,
            has_room=pool.services.budget.room(1) > 0,
        )

    # ---------------------------------------------------------------- emergency_restart_threshold

    def _count_emergency(self, pid: int, exit_: Exit) -> None:
        pool, now = self._pool, self._pool.services.loop.now
        settings = pool.services.settings
        threshold, interval = settings.emergency_restart_threshold, settings.emergency_restart_interval
        self._emergency = self._emergency.add(now, threshold)
        if self._emergency.is_reached(now, threshold, interval) and not pool.state.is_stopping:
            self._emergency = EmergencyWindow()
            name = pool.config.name
            pool.emit(EmergencyRestart(threshold, interval, str(exit_), pool=name, pid=pid))
            pool.generations.restart()
