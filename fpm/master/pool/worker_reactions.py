"""What a pool does when something happens to one of its workers: its part of the actions of the worker's table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fpm.config.model import PoolConfig
from fpm.events.base import PoolEvent
from fpm.events.pool import EmergencyRestart, EmergencyRestartFailed
from fpm.events.worker import WorkerKept, WorkerStarted
from fpm.master.pool.child import Child
from fpm.master.pool.death_report import Outlook, next_step
from fpm.master.pool.exits import PoolExits
from fpm.master.pool.header import PoolHeader
from fpm.master.pool.proof import Proof, Verdict
from fpm.master.pool.scaling import Scaler
from fpm.master.pool.template_process import TemplateState
from fpm.master.pool.templates import Templates
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
    config: PoolConfig
    workers: Workers
    templates: Templates
    scaler: Scaler
    header: PoolHeader
    timeouts: RequestTimeouts
    exits: PoolExits
    proof: Proof | None
    settled: bool
    stopping: bool

    def settle(self) -> None:
        """It serves for the first time, or has failed for the first time."""

    def check_empty(self) -> None:
        """A process has gone."""

    def prove(self, config: PoolConfig, done: Callable[[Verdict], None], progress: Callable[[str], None]) -> None:
        """Start a new generation beside the present one."""

    def commit(self) -> None:
        """The generation that has been proved takes over."""

    def abandon(self) -> None:
        """The generation on trial goes."""

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
        pool.emit(WorkerStarted(pool.settled, pool=pool.config.name, pid=child.pid))
        failed = pool.templates.failure is not None
        pool.templates.forgive()
        if failed:
            pool.header.write()
        pool.scaler.worker_ready()
        if pool.workers.census().starting == 0:
            pool.settle()

    def _on_serving(self, child: Child, change: Change) -> None:
        self._pool.timeouts.watch()
        self._pool.templates.forgive()
        if not self._pool.stopping:
            self._pool.scaler.worker_ready()

    def _on_trial_ready(self, child: Child, change: Change) -> None:
        if self._pool.proof is not None:
            self._pool.proof.worker_ready(child)

    def _fail_start(self, child: Child, change: Change) -> None:
        self._fail(child, change.error, change.traceback)

    def _fail_trial(self, child: Child, change: Change) -> None:
        proof = self._pool.proof
        if proof is None:
            return
        if change.event in (WorkerEvent.FAILED, WorkerEvent.GIVE_UP):
            proof.worker_failed(child, change.error, change.traceback)
        elif change.event is WorkerEvent.SILENT:
            proof.worker_failed(child, "its first worker has closed its channel", child.notes.last_words.text())
        else:
            proof.worker_gone(child, change.exit)

    def _fail(self, child: Child, error: str, traceback: str) -> None:
        """A worker cannot start: one failure for all that were made before it is noticed."""
        if child.notes.started >= self._failed_at:
            self._failed_at = self._pool.services.loop.now
            self._pool.templates.fail(error, traceback)

    # ---------------------------------------------------------------- its place, and its end

    def _replace(self, child: Child, change: Change) -> None:
        if not child.template.preload:
            # Its replacement has to import the application first, which may take long, or fail.
            self._pool.workers.happen(child, WorkerEvent.SERVE)
        self._pool.scaler.replace_one()

    def _refill(self, child: Child, change: Change) -> None:
        if not self._pool.stopping:
            self._pool.scaler.refill()

    def _respawn(self, child: Child, change: Change) -> None:
        """Make another; several in a row that end before they serve, and nobody who does: the pool has failed."""
        pool, end = self._pool, child.notes.end
        if pool.stopping or end is None:
            return
        pool.scaler.worker_died(pool.services.loop.now - child.notes.started, end.slot.requests)
        has_served = not end.state.is_starting or end.slot.requests > 0
        if has_served or pool.workers.has_serving or child.notes.started < self._failed_at:
            return
        count = pool.scaler.deaths_in_a_row
        if count >= HOPELESS:
            # What is wrong may have been mended meanwhile: the next try is one with a new template.
            pool.templates.dismiss_present()
            last = f"the last one, child {child.process.name}, exited {end.exit}"
            self._fail(child, f"its workers end before they serve, {count} in a row; {last}", "")

    def _certify(self, child: Child, change: Change) -> None:
        pool, end = self._pool, child.notes.end
        if end is None:
            return
        death = pool.exits.examine_worker(child, end)
        pool.header.write()
        if not pool.stopping and not end.state.is_on_trial:
            pool.scaler.evaluate()
        if death is not None:
            next_ = next_step(self._outlook(child, made=pool.workers.asked > end.asked))
            pool.exits.tell(death, next_, pool.config, status=end.exit.status)
            pool.header.write()
        if end.exit.is_emergency:
            self._count_emergency(child.process.name, end.exit)
        pool.check_empty()

    def _outlook(self, child: Child, *, made: bool) -> Outlook:
        pool, end = self._pool, child.notes.end
        present = pool.templates.present
        former = end.state if end is not None else child.state
        has_failed = pool.templates.failure is not None and not pool.workers.has_serving
        return Outlook(
            made=made,
            stopping=pool.stopping,
            on_trial=former.is_on_trial,
            told="reload" if former is WorkerState.SUPERSEDED else child.retire_reason,
            failed_for=pool.templates.backoff.until - pool.services.loop.now if has_failed else None,
            pause=pool.scaler.pause,
            failures=pool.scaler.deaths_in_a_row,
            ondemand=pool.config.pm == "ondemand",
            has_template=present is not None and present.state is TemplateState.READY,
            is_missing=pool.scaler.is_short,
            has_room=pool.services.budget.room(1) > 0,
        )

    # ---------------------------------------------------------------- emergency_restart_threshold

    def _count_emergency(self, pid: int, exit_: Exit) -> None:
        pool, now = self._pool, self._pool.services.loop.now
        settings = pool.services.settings
        threshold, interval = settings.emergency_restart_threshold, settings.emergency_restart_interval
        self._emergency = self._emergency.add(now, threshold)
        if self._emergency.is_reached(now, threshold, interval) and not pool.stopping:
            self._emergency = EmergencyWindow()
            name = pool.config.name
            pool.emit(EmergencyRestart(threshold, interval, str(exit_), pool=name, pid=pid))
            self._renew_at_once()

    def _renew_at_once(self) -> None:
        """A new generation of the same configuration, which needs nobody else's success."""
        pool = self._pool

        def decide(verdict: Verdict) -> None:
            if verdict.error:
                pool.emit(EmergencyRestartFailed(verdict.error, pool=pool.config.name))
                pool.abandon()
            else:
                pool.commit()

        pool.prove(pool.config, decide, lambda step: None)
