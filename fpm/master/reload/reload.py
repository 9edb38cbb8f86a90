"""One reload: check every new generation first, then swap, or change nothing anywhere.

Rules of the file. Until `_commit` nothing that serves is touched. A pool that fails ends the whole reload. The steps
are told to whoever has asked while they happen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from fpm.config.model import Config, PoolConfig
from fpm.errors import EXIT_FAILED, EXIT_OK, StartError
from fpm.events.pool import PoolChangeFailed
from fpm.frozen import dataclass
from fpm.master.listening.addresses import NewListeners
from fpm.master.listening.listeners import adjust_listener
from fpm.master.loop.loop import Timer
from fpm.master.pool.release import Release
from fpm.master.pool.supervisor import PoolSupervisor
from fpm.master.pool.trial import Verdict
from fpm.master.pools import Pools
from fpm.master.reload.plan import Action, Plan, PoolPlan
from fpm.master.reload.swap import Swap, SwappingPool
from fpm.master.reload.target import Target
from fpm.master.services import Services
from fpm.system.listening import Listener

CHECKS_AT_ONCE = 4
"""Templates that import at the same time: a thousand at once would starve the pools that serve."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reload has ended.

    Attributes:
        status: the exit status of the command: 0, 1 (a new generation does not work) or 78 (configuration).
        reasons: sentences, empty if it succeeded.
        given_up: nothing was wrong with it; the master stops.
        partial: it has taken effect, but for the pools that the reasons name.
    """

    status: int
    reasons: tuple[str, ...] = ()
    traceback: str = ""
    given_up: bool = False
    partial: bool = False


class Host(Protocol):
    """What a reload needs of the master."""

    services: Services
    pools: Pools

    def make_pool(self, config: PoolConfig, listener: Listener) -> PoolSupervisor:
        """A supervisor that is not among the master's pools yet."""

    def take_config(self, config: Config) -> None:
        """The new configuration counts."""


Report = Callable[[dict[str, Any]], None]


def sleeps(pool: PoolSupervisor) -> bool:
    """Tell whether nothing of a pool runs, because nobody has wanted it."""
    return pool.is_empty and pool.failures.failure is None


class Reload:
    """One reload under way."""

    def __init__(
        self,
        host: Host,
        target: Target,
        plan: Plan,
        opened: NewListeners,
        report: Report,
        finish: Callable[[Outcome], None],
    ) -> None:
        """
        Args:
            config: what the files say; a rollback's plan differs.
            opened: listening sockets of new and moved pools, already bound.
            report: told each step.
            finish: told the outcome, once.
        """
        self._host = host
        self._target = target
        self._plan = plan
        self._opened = opened
        self._report = report
        self._finish: Callable[[Outcome], None] | None = finish
        self._waiting: deque[str] = deque()
        self._checking: set[str] = set()
        self._passed: set[str] = set()
        self._swap: Swap | None = None
        """None: nothing has changed yet."""
        self._timer: Timer | None = None

    def _drain(self, pool: PoolSupervisor) -> None:
        self._host.pools.drain(pool, self._host.services.settings.process_control_timeout)

    @property
    def _incoming(self) -> dict[str, PoolSupervisor]:
        """New supervisors: of new pools and of those that move to another address."""
        return self._host.pools.incoming

    # ---------------------------------------------------------------- check

    def start(self, timeout: float) -> None:
        """Begin the checks.

        Args:
            timeout: seconds for all of them; 0: each pool's startup_timeout alone counts.
        """
        if timeout > 0:
            self._timer = self._host.services.loop.call_later(
                timeout, lambda: self.cancel(f"not checked within {timeout:g} s")
            )
        for plan in self._plan.pools:
            if plan.config is not None and plan.name in self._opened.by_pool:
                incoming = self._host.make_pool(plan.config, self._opened.by_pool[plan.name])
                if plan.name in self._host.pools:
                    incoming.current.follow(self._host.pools[plan.name].current)
                self._incoming[plan.name] = incoming
            if plan.name in self._opened.by_pool or plan.action is Action.GENERATION:
                self._waiting.append(plan.name)
        self._check_next()

    def cancel(self, reason: str, *, given_up: bool = False) -> None:
        """End it before its commit; nothing has changed."""
        if self._swap is None and self._finish is not None:
            self._abort(Outcome(EXIT_FAILED, (reason,), given_up=given_up))

    def _pool(self, name: str) -> PoolSupervisor:
        return self._incoming.get(name) or self._host.pools[name]

    def _check_next(self) -> None:
        while self._waiting and len(self._checking) < CHECKS_AT_ONCE and self._finish is not None:
            name = self._waiting.popleft()
            plan = self._plan.of(name)
            assert plan.config is not None
            assert plan.release is not None
            self._checking.add(name)
            self._pool(name).generations.check(
                plan.config,
                plan.release,
                lambda verdict, name=name: self._on_verdict(name, verdict),  # type: ignore[misc]
                lambda step, name=name: self._report({"pool": name, "step": step}),  # type: ignore[misc]
            )
        if not self._waiting and not self._checking and self._finish is not None:
            self._waiting += self._woken()
            if self._waiting:
                self._check_next()
            else:
                self._commit()

    def _woken(self) -> list[str]:
        """List the pools that slept when the plan was made, and have loaded the former code since."""
        pools = self._host.pools
        planned = [plan.name for plan in self._plan.pools if plan.action is Action.WAKE]
        return [name for name in planned if name not in self._passed and not sleeps(pools[name])]

    def _on_verdict(self, name: str, verdict: Verdict) -> None:
        self._checking.discard(name)
        if self._finish is None or self._swap is not None:
            return
        if verdict.error:
            reason = f"pool {name}: {verdict.error}"
            self._report({"pool": name, "step": f"failed: {verdict.error}"})
            if self._has_failed_before(name):
                self._target.left[name] = verdict.error
                self._check_next()
                return
            self._abort(Outcome(EXIT_FAILED, (reason,), verdict.traceback))
            return
        self._passed.add(name)
        self._check_next()

    def _has_failed_before(self, name: str) -> bool:
        """Is it as it was? Then others need not wait until it is mended."""
        pool = self._host.pools.get(name)
        return name not in self._target.judged and pool is not None and pool.failures.failure is not None

    def _abort(self, outcome: Outcome) -> None:
        self._waiting.clear()
        for plan in self._plan.pools:
            if plan.name not in self._incoming and plan.name in self._host.pools:
                self._host.pools[plan.name].generations.abandon()
        self._opened.disown()
        for pool in self._incoming.values():
            self._drain(pool)
        self._incoming.clear()
        self._opened.give_back()
        self._end(outcome)

    # ---------------------------------------------------------------- swap

    def _commit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        total = sum(self._workers_to_swap(plan) for plan in self._plan.pools)
        self._swap = Swap(self._host.services, self._swapping, total, self._report, self._succeed)
        self._opened.take_over()
        self._host.take_config(self._target.files or self._target.config)
        for plan in self._plan.pools:
            self._commit_pool(plan)
        self._incoming.clear()
        self._swap.start(self._passed)

    def _workers_to_swap(self, plan: PoolPlan) -> int:
        pool = self._host.pools.get(plan.name)
        return pool.workers.census().total if pool is not None and plan.name in self._passed else 0

    def _commit_pool(self, plan: PoolPlan) -> None:
        running = self._host.pools.get(plan.name)
        if plan.action is Action.REMOVE or plan.name in self._opened.by_pool:
            if running is not None:
                del self._host.pools[plan.name]
                self._drain(running)
            if plan.name in self._incoming:
                if running is not None:
                    self._incoming[plan.name].header.go_on_from(running.header)
                self._begin(self._incoming[plan.name])
            return
        if running is None:
            return
        try:
            if plan.config is not None and plan.release is not None:
                self._apply(running, plan, plan.config, plan.release)
        except StartError as error:
            running.emit(PoolChangeFailed(str(error), pool=plan.name))

    def _apply(self, pool: PoolSupervisor, plan: PoolPlan, config: PoolConfig, release: Release) -> None:
        if plan.socket:
            adjust_listener(pool.listener, config)
        if plan.name in self._passed:
            pool.generations.commit()
        elif plan.action is Action.LIVE:
            pool.generations.apply_live(config)
        elif plan.action is Action.WAKE:
            pool.generations.renew(config, release)

    def _begin(self, pool: PoolSupervisor) -> None:
        self._host.pools[pool.config.name] = pool
        pool.generations.commit()
        pool.start()

    def pool_changed(self, name: str) -> None:
        """A worker of this pool serves, or a process of it has gone."""
        if self._swap is not None:
            self._swap.pool_changed(name)

    def _swapping(self, name: str) -> SwappingPool | None:
        pool = self._host.pools.get(name)
        return None if pool is None or pool.is_stopping else pool.generations

    def _succeed(self) -> None:
        left = tuple(f"pool {name} is left as it is: {reason}" for name, reason in self._target.left.items())
        # Who has named pools has not asked for the others.
        partial = bool(left) and not self._target.scope.named
        self._end(Outcome(EXIT_FAILED, left, partial=True) if partial else Outcome(EXIT_OK))

    def _end(self, outcome: Outcome) -> None:
        if self._timer is not None:
            self._timer.cancel()
        finish, self._finish = self._finish, None
        if finish is not None:
            finish(outcome)
