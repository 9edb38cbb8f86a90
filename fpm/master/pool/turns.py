"""When a pool's scaler looks again: at a time, or when the pool may be full."""

from __future__ import annotations

from collections.abc import Callable

from fpm.config.model import PoolConfig
from fpm.master.loop.loop import NamedTimers
from fpm.master.pool import process_manager
from fpm.master.pool.child import Child
from fpm.master.pool.process_manager import Census, Notice
from fpm.master.pool.saturation import SaturationWatch
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.termination import AFTER_REQUEST
from fpm.master.pool.worker_state import WorkerEvent, WorkerState
from fpm.master.pool.workers import Workers
from fpm.master.services import Services
from fpm.system.listening import Listener

SATURATED_LOOK = 1.0
"""Seconds between looks at a pool that is as large as it may be."""
SHORTEST = 0.01


class Turns:
    """When the scaler of one pool looks again: at a time, or when the pool may be full."""

    def __init__(
        self,
        services: Services,
        listener: Listener,
        workers: Workers,
        evaluate: Callable[[], None],
        maintain: Callable[[], None],
    ) -> None:
        """
        Args:
            evaluate: called when a worker may be missing.
            maintain: called for the regular turn.
        """
        self.saturation = SaturationWatch(services.loop, listener, self._on_saturation, lambda: workers.census().idle)
        self.timers = NamedTimers(services.loop)
        self._evaluate = evaluate
        self._maintain = maintain
        self._rests_when_full = False

    def watch(self, config: PoolConfig, census: Census) -> None:
        """Watch for the next change of a pool that has all the workers it wants."""
        self._rests_when_full = config.pm == "static"
        hurried, resting = "maintain" in self.timers, "saturated" in self.timers
        plan = process_manager.decide_watch(config, census, hurried=hurried, resting=resting)
        if plan is None:
            return
        if plan.notice is Notice.BUSY:
            self.saturation.arm(plan.below)
        elif plan.notice is Notice.CONNECTION:
            self.saturation.watch_listener()
        else:
            self.saturation.off()
        if plan.look_again:
            self._look_again()

    def maintain_in(self, seconds: float | None) -> None:
        """Arrange the next regular turn; None: not before something happens."""
        if seconds is None:
            self.timers.cancel("maintain")
        else:
            self.timers.set("maintain", max(seconds, SHORTEST), self._maintain)

    def evaluate_in(self, name: str, seconds: float) -> None:
        """Arrange a look at the pool; replaces one of the same name."""
        self.timers.set(name, seconds, self._evaluate)

    def stop(self) -> None:
        """Watch nothing any more."""
        self.saturation.off()
        self.timers.cancel_all()

    def _on_saturation(self) -> None:
        # Until workers are made of it; a listening socket that is shut down, for one, is readable for ever.
        self.saturation.was_for_nothing()
        if self._rests_when_full:
            self._look_again()
        self._evaluate()

    def _look_again(self) -> None:
        self.evaluate_in("saturated", SATURATED_LOOK)


def supersede_former(workers: Workers, present: TemplateProcess | None) -> int:
    """Mark the workers of all templates but the present one; returns how many there are."""
    former = [
        child
        for child in workers.children
        if child.template is not present and (child.state.is_counted or child.state is WorkerState.SUPERSEDED)
    ]
    for child in former:
        workers.happen(child, WorkerEvent.SUPERSEDE, reason="reload")
    for child in _in_state(workers, WorkerState.RETIRING):
        if child.retire_reason in AFTER_REQUEST and child.template is not present:
            workers.retire(child, "reload")  # from now on its request has as much time as those of the others
    return len(former)


def release_replaced(workers: Workers, *, all_ready: bool) -> None:
    """Let one worker of a former generation, and one at its limit, leave: a new one is ready.

    Args:
        all_ready: it was the last of its generation: all former ones leave.
    """
    superseded = _in_state(workers, WorkerState.SUPERSEDED)
    for child in superseded if all_ready else superseded[:1]:
        workers.retire(child, "reload")
    for child in _in_state(workers, WorkerState.AT_LIMIT)[:1]:
        workers.retire(child, child.retire_reason if child.template.state.is_present else "reload")


def retire_surplus(workers: Workers, surplus: int) -> None:
    """Let so many leave, the longest idle first."""
    if surplus > 0:
        idle = [child for _, child in workers.idle_children()]
        busy = [child for child in workers.children if child.state.is_counted and child not in idle]
        for child in [*idle, *busy][:surplus]:
            workers.retire(child, "idle")


def _in_state(workers: Workers, state: WorkerState) -> list[Child]:
    return [child for child in workers.children if child.state is state]
