"""The requests of a pool that are over a limit: logged with their stack, interrupted, ended.

Rules of the file. There is no tick. A timer stands at the earliest limit of the requests that run. One that begins
later is over its first limit no sooner than the pool's shortest limit from now; if the timer stands later than that, or
there is none, the bell of each scoreboard is set to ring at the next request. What to do is `deadlines`' decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fpm.config.model import PoolConfig
from fpm.log.escape import escape
from fpm.master.loop.loop import Timer
from fpm.master.loop.token_bucket import Allowance
from fpm.master.pool.child import Child
from fpm.master.pool.deadlines import BEGINNING, LOOK_INTERVAL, RUNNING, Act, Watch, judge, limits_of
from fpm.master.pool.shared_resources import Shared
from fpm.master.pool.stack_capture import StackTaking, explain, look_at
from fpm.master.pool.wakeup import ANY_REQUEST, Wish
from fpm.master.pool.workers import Workers
from fpm.master.services import Services
from fpm.protocol.spec import INTERRUPT_SIGNAL
from fpm.scoreboard.memory import is_interrupt_wanted, want_interrupt
from fpm.stacks.rights import read_status
from fpm.stacks.trace import Trace

OVERTIME = "overtime"
LOGGED_PER_SECOND = 50.0
LOGGED_AT_ONCE = 200.0
"""Slow requests of one pool that are logged, or as many at once as it may have workers; what these write to the
scoreboard is their own word."""


class Overtime:
    """Of one pool."""

    def __init__(
        self,
        services: Services,
        config: PoolConfig,
        workers: Workers,
        stacks: StackTaking,
        boards: Callable[[], list[Shared]],
    ) -> None:
        """
        Args:
            boards: the scoreboards of all generations.
        """
        self._services = services
        self._name = config.name
        self._limits = limits_of(config)
        self._workers = workers
        self._stacks = stacks
        self._boards = boards
        self._watches: dict[Child, Watch] = {}
        self._in_hand: set[Child] = set()
        """Their stack is being taken, and something comes after it."""
        self._allowance = Allowance(LOGGED_PER_SECOND, max(LOGGED_AT_ONCE, config.pm_max_children))
        self._timer: Timer | None = None
        self._armed: list[Shared] = []
        self._due = 0.0
        self._last = 0.0
        self._closed = False

    def take_config(self, config: PoolConfig) -> None:
        """Other limits; they count for the requests that run."""
        limits = limits_of(config)
        if limits != self._limits:
            self._limits = limits
            self._allowance.at_once = max(LOGGED_AT_ONCE, config.pm_max_children)
            self._look_at(self._services.loop.now)

    def watch(self) -> None:
        """A worker, or a scoreboard, is new: see that its requests are noticed."""
        if self._limits.shortest and any(shared not in self._armed for shared in self._boards()):
            self._look_at(self._services.loop.now + self._limits.shortest)

    def close(self) -> None:
        """Look no more."""
        self._closed = True
        self._cancel()
        self._disarm()

    # ---------------------------------------------------------------- when to look

    def _look_at(self, when: float) -> None:
        """Look at this time at the latest, but not too soon after the last look."""
        when = max(when, self._last + LOOK_INTERVAL)
        if self._closed or (self._timer is not None and self._due <= when):
            return
        self._cancel()
        self._due = when
        self._timer = self._services.loop.call_later(max(when - self._services.loop.now, 0.0), self._look)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        """Be told of the next request."""
        self._armed = self._boards()
        for shared in self._armed:
            shared.bell.want(OVERTIME, Wish(ANY_REQUEST, self._on_request, lambda: 0))
        if any(self._is_new(child) for child in self._workers.children):
            self._on_request()  # it began after it was looked at and before the bell was set

    def _disarm(self) -> None:
        for shared in self._armed:
            shared.bell.forget(OVERTIME)
        self._armed = []

    def _on_request(self) -> None:
        self._disarm()
        self._look_at(self._services.loop.now + self._limits.shortest)

    def _is_new(self, child: Child) -> bool:
        if not child.ready or child.held or child.stage not in RUNNING | BEGINNING:
            return False
        watch = self._watches.get(child)
        return watch is None or watch.request != child.read_clocks().requests

    # ---------------------------------------------------------------- a look

    def _look(self) -> None:
        self._cancel()
        self._disarm()
        limits, now = self._limits, self._services.loop.now
        self._last = now
        if not limits.shortest:
            self._watches = {}
            return
        former, self._watches = self._watches, {}
        acts: list[tuple[Child, Watch, Act]] = []
        times: list[float] = []
        for child in self._workers.children:
            stage = child.stage
            if child in self._in_hand and child in former:
                self._watches[child] = former[child]
            elif child.ready and not child.held and stage in RUNNING | BEGINNING:
                verdict = judge(limits, stage, child.read_clocks(), former.get(child), now)
                if verdict.watch is not None:
                    self._watches[child] = verdict.watch
                    acts.append((child, verdict.watch, verdict.act))
                if verdict.next is not None:
                    times.append(verdict.next)
        for child, watch, act in acts:
            self._act(child, watch, act)
        for when in times:
            self._look_at(when)
        if self._timer is None or self._due > now + limits.shortest:
            self._arm()

    def _act(self, child: Child, watch: Watch, act: Act) -> None:
        if act is Act.LOG:
            self._log_slow(child, watch)
        elif act is Act.INTERRUPT:
            self._in_hand.add(child)
            self._stacks.take(child, "interrupt", lambda trace: self._interrupt(child, watch, trace))
        elif act is Act.REMIND:
            if is_interrupt_wanted(child.board.view, child.board.slots, child.slot, watch.request):
                child.send_signal(INTERRUPT_SIGNAL)
        elif act is Act.TERMINATE:
            self._workers.dismissal.time_out(child, watch.request, watch.over)

    def _log_slow(self, child: Child, watch: Watch) -> None:
        now = self._services.loop.now
        if watch.samples > 1:
            if self._services.resamples.take(now):
                self._stacks.take(child, "slow", sample=watch.samples)
            return
        if watch.request == child.logged_request:
            return  # before an upgrade of pyfpm
        child.logged_request = watch.request
        if not self._allowance.take(now):
            if self._allowance.refused == 1:
                at_once = self._allowance.at_once
                self._say(f"more than {at_once:g} slow requests at once; for now only some of them are logged")
            return
        work = look_at(child, now)
        if work.request == watch.request:
            request = f"child {child.pid}, script '{escape(work.script)}' (request: \"{work.name}\")"
            self._say(f"{request} executing too slow ({work.seconds:.6f} sec), logging{work.doing}")
            self._stacks.take(child, "slow")

    def _interrupt(self, child: Child, watch: Watch, trace: Trace) -> None:
        """Its stack has come: raise fpm.RequestTimeout in it, if it still runs."""
        self._in_hand.discard(child)
        now = self._services.loop.now
        work = None if child.closed else look_at(child, now)
        if work is not None and work.request == watch.request:
            if _listens(child.pid):
                request = f"child {child.pid}, script '{escape(work.script)}' (request: \"{work.name}\")"
                text = f"execution timed out ({work.seconds:.6f} sec), interrupting{work.doing}{explain(trace)}"
                self._say(f"{request} {text}")
                want_interrupt(child.board.view, child.board.slots, child.slot, watch.request)
                child.send_signal(INTERRUPT_SIGNAL)
                self._watches[child] = replace(watch, interrupted=now)
            else:
                self._workers.dismissal.time_out(child, watch.request, watch.over)
                self._watches[child] = replace(watch, ended=True)
        self._look_at(now)

    def _say(self, text: str) -> None:
        self._services.log.warning(f"[pool {self._name}] {text}")


def _listens(pid: int) -> bool:
    """Would the process survive the signal? A handler that the application has taken away leaves it deadly."""
    status = read_status(pid)
    return status is not None and bool(status.caught & 1 << (INTERRUPT_SIGNAL - 1))
