"""When a pool's scaler looks again: at a time, or when the pool may be full."""

from __future__ import annotations

from collections.abc import Callable

from fpm.config.model import PoolConfig
from fpm.master.loop.timers import NamedTimers
from fpm.master.pool import process_manager
from fpm.master.pool.process_manager import Census, Notice
from fpm.master.pool.saturation import SaturationWatch
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
