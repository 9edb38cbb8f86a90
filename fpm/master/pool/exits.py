"""What a pool does when one of its processes has ended: who replaces it, whether the pool has failed, what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.events.pool import EmergencyRestart, EmergencyRestartFailed
from fpm.master.pool.child import Child
from fpm.master.pool.death_report import Outlook, next_step
from fpm.master.pool.deaths import Deaths
from fpm.master.pool.proof import Verdict
from fpm.master.pool.template_process import TemplateProcess, TemplateState
from fpm.master.processes.backoff import EmergencyWindow
from fpm.master.processes.exits import Exit, Usage
from fpm.scoreboard.snapshot import Slot
from fpm.status.overview import Death

if TYPE_CHECKING:
    from fpm.master.pool.supervisor import PoolSupervisor

HOPELESS = 3
"""Workers that die in a row before they serve, until the pool is said to have failed."""


class Endings:
    """Of one pool."""

    def __init__(self, pool: PoolSupervisor) -> None:
        self._pool = pool
        self._deaths = Deaths(pool.services, pool.config.name, pool.emit)
        self._emergency = EmergencyWindow()

    def worker_gone(self, child: Child, exit_: Exit, slot: Slot) -> None:
        """A worker has ended; it is not among the pool's workers any more."""
        pool = self._pool
        asked, pid = pool.workers.asked, child.pid or child.claimed_pid
        death = self._deaths.examine_worker(child, exit_, slot)
        pool.header.write()
        if exit_.signal is not None and child.ready:
            # A client's arrival wakes one worker. If it was this one, in its last moment, nobody else knows of it.
            pool.workers.look_again()
        on_trial = child.held and pool.proof is not None
        if on_trial and pool.proof is not None:
            pool.proof.worker_gone(child, exit_)
        elif not pool.stopping:
            pool.staffing.worker_gone(child, pool.services.loop.now - child.started, slot.requests)
            self._check_start(child, pid, exit_, slot.requests)
        if death is not None:
            outlook = self._outlook(child, made=pool.workers.asked > asked, on_trial=on_trial)
            self._deaths.tell(death, next_step(outlook), pool.config, status=exit_.status)
            pool.header.write()
        if exit_.is_emergency:
            self._count_emergency(pid, exit_)

    def examine_template(self, template: TemplateProcess, exit_: Exit, usage: Usage) -> Death:
        """A template, or the 503 responder, has ended."""
        return self._deaths.examine_template(template, exit_, usage)

    def template_died(self, death: Death, next_: str, logged: bool) -> None:
        """It has ended unasked.

        Args:
            next_: what happens next, as a clause.
            logged: the log has been told of its end in other words.
        """
        self._deaths.tell(death, next_, self._pool.config, is_logged=logged)

    def _outlook(self, child: Child, *, made: bool, on_trial: bool) -> Outlook:
        pool, loop = self._pool, self._pool.services.loop
        present = pool.templates.present
        failed = pool.templates.failure is not None and not any(one.ready for one in pool.workers.children)
        return Outlook(
            made=made,
            stopping=pool.stopping,
            on_trial=on_trial,
            told="reload" if child.outgoing else child.leaving or "",
            failed_for=pool.templates.backoff.until - loop.now if failed else None,
            pause=pool.staffing.pause,
            failures=pool.staffing.deaths_in_a_row,
            ondemand=pool.config.pm == "ondemand",
            has_template=present is not None and present.state is TemplateState.READY,
            is_missing=pool.staffing.is_short,
            has_room=pool.services.budget.room(1) > 0,
        )

    def _check_start(self, child: Child, pid: int, exit_: Exit, requests: int) -> None:
        """Several workers in a row that end before they serve, and nobody who does: the pool has failed."""
        pool = self._pool
        has_served = child.ready or requests > 0
        if has_served or child.leaving is not None or pool.has_workers() or child.started < pool.failed_at:
            return
        count = pool.staffing.deaths_in_a_row
        if count >= HOPELESS:
            # What is wrong may have been mended meanwhile: the next try is one with a new template.
            pool.templates.dismiss_present()
            text = f"its workers end before they serve, {count} in a row; the last one, child {pid}, exited {exit_}"
            pool.fail(child, text, "")

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
