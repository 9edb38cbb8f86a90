"""The requests of a pool that are over a limit: logged with their stack, interrupted, ended.

Rules of the file. There is no tick. A timer stands at the earliest limit of the requests that run. One that begins
later is over its first limit no sooner than the pool's shortest limit from now; if the timer stands later than that, or
there is none, the next request that begins on any scoreboard wakes the master. What to do is `deadlines`' decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fpm.config.model import PoolConfig
from fpm.events.base import PoolEvent
from fpm.events.pool import SlowRequestsSkipped
from fpm.events.worker import RequestSlow, RequestTimedOut
from fpm.master.loop.loop import Timer
from fpm.master.loop.read_budget import TokenBucket
from fpm.master.pool.child import Child
from fpm.master.pool.deadlines import (
    BEGINNING,
    LOOK_INTERVAL,
    RUNNING,
    Action,
    Limits,
    Watch,
    decide_timeout,
    limits_of,
)
from fpm.master.pool.saturation import ANY_REQUEST, Subscription
from fpm.master.pool.shared_resources import SharedResources
from fpm.master.pool.stack_capture import CurrentRequest, StackCapture, read_current_request, why_no_stack
from fpm.master.pool.worker_state import WorkerState
from fpm.master.pool.workers import Workers
from fpm.master.services import Services
from fpm.protocol.spec import INTERRUPT_SIGNAL
from fpm.stacks.rights import read_status
from fpm.stacks.trace import Trace

REQUESTS = "requests"
LOGGED_PER_SECOND = 50.0
LOGGED_AT_ONCE = 200.0
"""Slow requests of one pool that are logged, or as many at once as it may have workers; what these write to the
scoreboard is their own word."""


class RequestTimeouts:
    """Looks after the requests of one pool."""

    def __init__(
        self,
        services: Services,
        config: PoolConfig,
        workers: Workers,
        stacks: StackCapture,
        boards: Callable[[], list[SharedResources]],
        emit: Callable[[PoolEvent], None],
    ) -> None:
        """
        Args:
            boards: the scoreboards of all generations.
        """
        self._services = services
        self._limits = limits_of(config)
        self._workers = workers
        self._stacks = stacks
        self._boards = boards
        self._emit = emit
        self._watches: dict[Child, Watch] = {}
        self._in_hand: set[Child] = set()
        """Their stack is being taken, and something comes after it."""
        self._allowance = TokenBucket(LOGGED_PER_SECOND, max(LOGGED_AT_ONCE, config.pm_max_children))
        self._timer: Timer | None = None
        self._armed: list[SharedResources] = []
        self._last = 0.0

    def take_config(self, config: PoolConfig) -> None:
        """Other limits; they count for the requests that run."""
        limits = limits_of(config)
        if limits != self._limits:
            self._limits = limits
            self._allowance.at_once = max(LOGGED_AT_ONCE, config.pm_max_children)
            if limits.shortest:
                self._look_at(self._services.loop.now)
            else:
                self.close()

    def watch(self) -> None:
        """A worker, or a scoreboard, is new: see that its requests are noticed."""
        if self._limits.shortest and any(shared not in self._armed for shared in self._boards()):
            self._look_at(self._services.loop.now + self._limits.shortest)

    def close(self) -> None:
        """Look no more."""
        self._limits, self._watches = Limits(), {}
        self._cancel()
        self._disarm()

    # ---------------------------------------------------------------- when to look

    def _look_at(self, when: float) -> None:
        """Look at this time at the latest, but not too soon after the last look."""
        when = max(when, self._last + LOOK_INTERVAL)
        if not self._limits.shortest or (self._timer is not None and self._timer.when <= when):
            return
        self._cancel()
        self._timer = self._services.loop.call_later(max(when - self._services.loop.now, 0.0), self._look)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        """Be told of the next request."""
        self._armed = self._boards()
        for shared in self._armed:
            shared.wakeup.subscribe(REQUESTS, Subscription(ANY_REQUEST, self._on_request, lambda: 0))
        if any(self._is_new(child) for child in self._workers.children):
            self._on_request()  # it began after it was looked at and before the master subscribed

    def _disarm(self) -> None:
        for shared in self._armed:
            shared.wakeup.unsubscribe(REQUESTS)
        self._armed = []

    def _on_request(self) -> None:
        self._disarm()
        self._look_at(self._services.loop.now + self._limits.shortest)

    def _is_new(self, child: Child) -> bool:
        if not child.state.is_limited or child.stage not in RUNNING | BEGINNING:
            return False
        watch = self._watches.get(child)
        return watch is None or watch.request != child.slot.read_clocks().requests

    # ---------------------------------------------------------------- a look

    def _look(self) -> None:
        self._cancel()
        self._disarm()
        limits, now = self._limits, self._services.loop.now
        self._last = now
        former, self._watches = self._watches, {}
        actions: list[tuple[Child, Watch, Action]] = []
        times: list[float] = []
        for child in self._workers.children:
            stage = child.stage
            if child in self._in_hand and child in former:
                self._watches[child] = former[child]
            elif child.state.is_limited and stage in RUNNING | BEGINNING:
                decision = decide_timeout(limits, stage, child.slot.read_clocks(), former.get(child), now)
                if decision.watch is not None:
                    self._watches[child] = decision.watch
                    actions.append((child, decision.watch, decision.action))
                if decision.next is not None:
                    times.append(decision.next)
        for child, watch, action in actions:
            self._act(child, watch, action)
        for when in times:
            self._look_at(when)
        if self._timer is None or self._timer.when > now + limits.shortest:
            self._arm()

    def _act(self, child: Child, watch: Watch, action: Action) -> None:
        if action is Action.LOG:
            self._log_slow(child, watch)
        elif action is Action.INTERRUPT:
            self._in_hand.add(child)
            self._stacks.take(child, "interrupt", lambda trace: self._interrupt(child, watch, trace))
        elif action is Action.REMIND:
            if child.slot.is_interrupt_wanted(watch.request):
                child.process.send_signal(INTERRUPT_SIGNAL)
        elif action is Action.TERMINATE:
            self._workers.termination.time_out(child, watch.request, watch.over)

    def _log_slow(self, child: Child, watch: Watch) -> None:
        now = self._services.loop.now
        if watch.samples > 1:
            if self._services.resamples.take(now):
                self._stacks.take(child, "slow", sample=watch.samples)
            return
        if watch.request == child.notes.logged_request:
            return  # before an upgrade of pyfpm
        child.notes.logged_request = watch.request
        if not self._allowance.take(now):
            if self._allowance.refused == 1:
                self._emit(SlowRequestsSkipped(self._allowance.at_once, pool=self._pool))
            return
        request = read_current_request(child, now)
        if request.number == watch.request:
            names = request.script, request.name, request.seconds, request.doing
            self._emit(RequestSlow(*names, pool=self._pool, pid=child.pid))
            self._stacks.take(child, "slow")

    def _interrupt(self, child: Child, watch: Watch, trace: Trace) -> None:
        """Its stack has come: raise fpm.RequestTimeout in it, if it still runs."""
        self._in_hand.discard(child)
        now = self._services.loop.now
        if child.state is not WorkerState.GONE:
            request = read_current_request(child, now)
            if request.number == watch.request:
                self._watches[child] = self._interrupt_now(child, watch, request, why_no_stack(trace), now)
        self._look_at(now)

    def _interrupt_now(self, child: Child, watch: Watch, request: CurrentRequest, no_stack: str, now: float) -> Watch:
        if not _listens(child.pid):
            self._workers.termination.time_out(child, watch.request, watch.over)
            return replace(watch, ended=True)
        self._emit(
            RequestTimedOut(
                *(request.script, request.name, request.seconds, watch.over, "interrupting"),
                doing=request.doing,
                no_stack=no_stack,
                pool=self._pool,
                pid=child.pid,
            )
        )
        if watch.over == "request_terminate_timeout":
            child.notes.interrupted_request = watch.request
        child.slot.want_interrupt(watch.request)
        child.process.send_signal(INTERRUPT_SIGNAL)
        return replace(watch, interrupted=now)

    @property
    def _pool(self) -> str:
        return self._stacks.config.name


def _listens(pid: int) -> bool:
    """Would the process survive the signal? A handler that the application has taken away leaves it deadly."""
    status = read_status(pid)
    return status is not None and bool(status.caught & 1 << (INTERRUPT_SIGNAL - 1))
