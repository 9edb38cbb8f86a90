"""One reload: prove every new generation first, then swap, or change nothing anywhere.

Rules of the file. Until `_commit` nothing that serves is touched. A pool that fails ends the whole reload. The steps
are told to whoever has asked while they happen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from fpm.config.model import Config, PoolConfig
from fpm.errors import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, StartError
from fpm.master.listening.addresses import NewListeners
from fpm.master.listening.listeners import adjust_listener
from fpm.master.loop.loop import Loop, Timer
from fpm.master.pool.proof import Verdict
from fpm.master.pool.supervisor import PoolSupervisor
from fpm.master.reload.plan import Action, Plan, PoolPlan
from fpm.system.listening import Listener

PROOFS_AT_ONCE = 4
"""Templates that import at the same time: a thousand at once would starve the pools that serve."""
LOOK = 0.05
"""Seconds between looks at how many workers have been swapped."""
SWAP_PATIENCE = 60.0
"""Seconds without any swap after which a reload ends all the same: the next one may be what mends it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reload has ended.

    Attributes:
        status: the exit status of the command: 0, 1 (a pool was not proved) or 78 (configuration).
        reasons: sentences, empty if it succeeded.
        given_up: nothing was wrong with it; the master stops.
    """

    status: int
    reasons: tuple[str, ...] = ()
    traceback: str = ""
    given_up: bool = False


class Host(Protocol):
    """What a reload needs of the master."""

    loop: Loop
    pools: dict[str, PoolSupervisor]
    incoming: dict[str, PoolSupervisor]
    """Supervisors that the reload under way has made; their processes are to be reaped like those of `pools`."""

    def make_pool(self, config: PoolConfig, listener: Listener) -> PoolSupervisor:
        """A supervisor that is not among the master's pools yet."""

    def drain_pool(self, pool: PoolSupervisor) -> None:
        """The pool accepts nothing any more; it goes when its requests are finished."""

    def take_config(self, config: Config) -> None:
        """The new configuration counts."""


Report = Callable[[dict[str, Any]], None]


class Reload:
    """One reload under way."""

    def __init__(
        self,
        host: Host,
        config: Config,
        plan: Plan,
        named: Collection[str],
        opened: NewListeners,
        report: Report,
        finish: Callable[[Outcome], None],
    ) -> None:
        """
        Args:
            opened: listening sockets of new and moved pools, already bound.
            report: told each step.
            finish: told the outcome, once.
        """
        self._host = host
        self._config = config
        self._plan = plan
        self._named = named
        self._opened = opened
        self._report = report
        self._finish: Callable[[Outcome], None] | None = finish
        self._configs = {pool.name: pool for pool in config.pools}
        self._waiting: deque[str] = deque()
        self._proving: set[str] = set()
        self._proved: set[str] = set()
        self._incoming = host.incoming
        """New supervisors: of new pools and of those that move to another address."""
        self._committed = False
        self._timer: Timer | None = None
        self._swap_total = 0
        self._left = -1
        """Workers to be swapped at the last look, and when that number was another one (monotonic seconds)."""
        self._moved = 0.0

    # ---------------------------------------------------------------- prove

    def start(self, timeout: float) -> None:
        """Begin the proofs.

        Args:
            timeout: seconds for all of them; 0: each pool's startup_timeout alone counts.
        """
        if timeout > 0:
            self._timer = self._host.loop.call_later(timeout, lambda: self.cancel(f"not checked within {timeout:g} s"))
        for pool in self._plan.pools:
            if self._is_new(pool):
                self._incoming[pool.name] = self._host.make_pool(
                    self._configs[pool.name], self._opened.by_pool[pool.name]
                )
            if self._needs_proof(pool):
                self._waiting.append(pool.name)
        self._prove_next()

    def cancel(self, reason: str, *, given_up: bool = False) -> None:
        """End it before its commit; nothing has changed."""
        if not self._committed and self._finish is not None:
            self._abort(Outcome(EXIT_FAILED, (reason,), given_up=given_up))

    def _is_new(self, plan: PoolPlan) -> bool:
        return plan.name in self._opened.by_pool

    def _needs_proof(self, plan: PoolPlan) -> bool:
        if self._is_new(plan):
            return True
        if plan.action is not Action.GENERATION:
            return False
        # A pool that sleeps and has not changed takes the new code when it wakes up.
        sleeps = self._host.pools[plan.name].is_empty and self._host.pools[plan.name].templates.failure is None
        return not sleeps or bool(plan.changed) or plan.name in self._named

    def _pool(self, name: str) -> PoolSupervisor:
        return self._incoming.get(name) or self._host.pools[name]

    def _prove_next(self) -> None:
        while self._waiting and len(self._proving) < PROOFS_AT_ONCE and self._finish is not None:
            name = self._waiting.popleft()
            self._proving.add(name)
            self._pool(name).prove(
                self._configs[name],
                lambda verdict, name=name: self._on_verdict(name, verdict),  # type: ignore[misc]
                lambda step, name=name: self._report({"pool": name, "step": step}),  # type: ignore[misc]
            )
        if not self._waiting and not self._proving and self._finish is not None:
            self._commit()

    def _on_verdict(self, name: str, verdict: Verdict) -> None:
        self._proving.discard(name)
        if self._finish is None or self._committed:
            return
        if verdict.error:
            reason = f"pool {name}: {verdict.error}"
            self._report({"pool": name, "step": f"failed: {verdict.error}"})
            self._abort(Outcome(EXIT_FAILED, (reason,), verdict.traceback))
            return
        self._proved.add(name)
        self._prove_next()

    def _abort(self, outcome: Outcome) -> None:
        self._waiting.clear()
        for plan in self._plan.pools:
            if plan.name not in self._incoming and plan.name in self._host.pools:
                self._host.pools[plan.name].abandon()
        self._opened.give_back()
        for pool in self._incoming.values():
            self._host.drain_pool(pool)
        self._incoming.clear()
        self._end(outcome)

    # ---------------------------------------------------------------- swap

    def _commit(self) -> None:
        self._committed = True
        self._swap_total = sum(self._workers_to_swap(plan) for plan in self._plan.pools)
        self._opened.take_over()
        self._host.take_config(self._config)
        for plan in self._plan.pools:
            self._commit_pool(plan)
        self._incoming.clear()
        self._watch_swap()

    def _workers_to_swap(self, plan: PoolPlan) -> int:
        pool = self._host.pools.get(plan.name)
        return pool.workers.census().total if pool is not None and plan.name in self._proved else 0

    def _commit_pool(self, plan: PoolPlan) -> None:
        running = self._host.pools.get(plan.name)
        if plan.action is Action.REMOVE or self._is_new(plan):
            if running is not None:
                del self._host.pools[plan.name]
                self._host.drain_pool(running)
            if plan.name in self._incoming:
                self._begin(self._incoming[plan.name])
            return
        if running is None:
            return
        config = self._configs[plan.name]
        try:
            if plan.socket:
                adjust_listener(running.listener, config)
            if plan.action is Action.LIVE:
                running.apply(config)
            elif plan.action is Action.GENERATION and plan.name in self._proved:
                running.commit()
            elif plan.action is Action.GENERATION:
                running.renew(config)
        except StartError as error:
            running.log("error", f"{error}; the former one stays in use")

    def _begin(self, pool: PoolSupervisor) -> None:
        self._host.pools[pool.config.name] = pool
        try:
            pool.commit()
            pool.start()
        except StartError as error:
            pool.log("error", str(error))

    def _watch_swap(self) -> None:
        left = sum(pool.unswapped for pool in self._host.pools.values())
        if self._swap_total and left != self._left:
            self._report({"swapped": self._swap_total - left, "of": self._swap_total})
        now = self._host.loop.now
        if left != self._left:
            self._left, self._moved = left, now
        waiting = [pool for pool in self._host.pools.values() if pool.is_swapping]
        if not waiting:
            self._end(Outcome(EXIT_OK))
        elif now - self._moved < SWAP_PATIENCE:
            self._timer_again()
        else:
            for pool in waiting:
                pool.log("warning", "new workers do not come; those of the former generation serve on until they do")
            self._end(Outcome(EXIT_OK))

    def _timer_again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._host.loop.call_later(LOOK, self._watch_swap)

    def _end(self, outcome: Outcome) -> None:
        if self._timer is not None:
            self._timer.cancel()
        finish, self._finish = self._finish, None
        if finish is not None:
            finish(outcome)


def config_outcome(complaints: list[str]) -> Outcome:
    """The configuration has mistakes, or a listening address cannot be had: nothing has been tried."""
    return Outcome(EXIT_CONFIG, tuple(complaints))
