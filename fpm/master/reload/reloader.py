"""Reloads one after another: the one under way, those that wait, and what became of the last."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Protocol

from fpm.config.model import Config
from fpm.errors import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, ConfigError, StartError, UnknownPool
from fpm.events.base import Event
from fpm.events.master import ReloadEnded, ReloadPlanned, ReloadProgressed, ReloadStarted
from fpm.frozen import dataclass
from fpm.master.listening.addresses import NewListeners
from fpm.master.listening.status_listeners import StatusListeners, serve_without
from fpm.master.pool.current_config import resolve_release, still_exists
from fpm.master.pool.specs import children_for
from fpm.master.pool.supervisor import PoolSupervisor
from fpm.master.reload.plan import ALL, Plan, RunningPool, Scope, compare_settings, make_plan
from fpm.master.reload.reload import Host, Outcome, Reload, sleeps
from fpm.master.reload.rollback import find_rollback
from fpm.master.reload.target import Target, make_target
from fpm.stacks.text.exception import read_frames, show_calls
from fpm.status.overview import LastReload

Tell = Callable[[dict[str, Any]], None]


def _tell_nobody(message: dict[str, Any]) -> None:
    """A reload by signal: the log says it all."""


class ReloadHost(Host, Protocol):
    """What the reloader needs of the master beside what each reload needs."""

    config: Config
    status_listeners: StatusListeners

    def emit(self, event: Event) -> Event:
        """Tell everybody who reads what happens."""

    def load(self) -> Config:
        """Read the configuration anew."""


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody wants.

    Attributes:
        tell: gets each step, and last a message with `ok`.
        rollback: a pool that shall go back to its generation before.
        joined: `tell` of earlier requests that this one covers.
    """

    tell: Tell = _tell_nobody
    scope: Scope = ALL
    timeout: float = 0.0
    rollback: str | None = None
    joined: tuple[Tell, ...] = ()

    def report(self, message: dict[str, Any]) -> None:
        """Tell everybody who has asked."""
        for tell in (*self.joined, self.tell):
            tell(message)

    def covering(self, former: Request) -> Request:
        """Return a request that does the work of an earlier one, too, whose outcome is that of both."""
        joined = tuple(dict.fromkeys((*former.joined, former.tell, *self.joined)))
        return replace(self, scope=former.scope.joined(self.scope), joined=joined)


class Reloader:
    """Serializes the reloads of one master."""

    def __init__(self, host: ReloadHost, clock: Callable[[], float]) -> None:
        self._host = host
        self._clock = clock
        self._current: Reload | None = None
        self._waiting: deque[Request] = deque()
        self.last: LastReload | None = None

    def plan(self, scope: Scope) -> Plan:
        """What a reload would do now.

        Raises:
            ConfigError: it would be refused.
        """
        return self._plan(self._judge(self._host.load(), scope), self._returning())

    def request(self, request: Request) -> None:
        """Begin a reload, or let it wait for the one under way; one that waits last already is joined to it."""
        if self._current is None:
            self._begin(request)
            return
        request.tell({"step": "waiting for the reload under way"})
        if self._waiting and self._waiting[-1].rollback is None and request.rollback is None:
            former = self._waiting.pop()
            former.report({"step": "superseded by a later reload, which covers it; waiting for its outcome"})
            request = request.covering(former)
        self._waiting.append(request)

    @property
    def busy(self) -> bool:
        """Is a reload under way?"""
        return self._current is not None

    def pool_changed(self, name: str) -> None:
        """A worker of this pool serves, or a process of it has gone: the reload may have come further."""
        if self._current is not None:
            self._current.pool_changed(name)

    def cancel(self, reason: str) -> None:
        """The master stops."""
        while self._waiting:
            self._waiting.popleft().report(_answer(Outcome(EXIT_FAILED, (reason,))))
        if self._current is not None:
            self._current.cancel(reason, given_up=True)

    def _begin(self, request: Request) -> None:
        host = self._host
        host.emit(ReloadStarted(request.rollback or ""))
        opened = NewListeners(host.status_listeners)
        returning = self._returning()
        try:
            target = self._wanted(request)
            running = {name: (pool.config, pool.listener) for name, pool in host.pools.items()}
            serve = serve_without(host.emit)
            opened.open(
                target.config,
                running,
                [name for name in returning if target.scope.covers(name)],
                target.refuse,
                lambda name, reason: name in target.judged or serve(name, reason),
            )
        except (ConfigError, StartError) as error:
            status = error.exit_status if isinstance(error, UnknownPool) else EXIT_CONFIG
            # A mistake in the call, or nothing to return to, says nothing of the code: no deploy has failed.
            is_attempt = request.rollback is None and not isinstance(error, UnknownPool)
            self._finished(request, Outcome(status, tuple(str(error).splitlines())), is_attempt=is_attempt)
            return
        target = target.settle({name: pool.config for name, pool in host.pools.items()})
        plan = self._plan(target, returning)
        host.emit(ReloadPlanned(tuple(plan.log_lines())))
        request.report({"plan": plan.lines(), "pools": plan.objects()})
        self._current = Reload(
            host,
            target,
            plan,
            opened,
            lambda message: self._report(request, message),
            lambda outcome: self._finished(request, outcome),
        )
        self._current.start(request.timeout)

    def _wanted(self, request: Request) -> Target:
        if request.rollback is not None:
            return self._rolled_back(request.rollback)
        return self._judge(self._host.load(), request.scope)

    def _judge(self, config: Config, scope: Scope) -> Target:
        """Refuse a configuration for what it lacks on this machine, if that concerns what somebody wants to change.

        Raises:
            UnknownPool: a named pool does not exist.
            ConfigError: one that is judged could not start.
        """
        _refuse_unknown(scope.named, {pool.name for pool in config.pools})
        target = make_target(config, {name: pool.config for name, pool in self._host.pools.items()}, scope)
        if target.lacking:
            raise ConfigError(target.lacking)
        return target

    def _rolled_back(self, name: str) -> Target:
        """Aim at what runs, but for one pool."""
        _refuse_unknown((name,), self._host.pools)
        pool = self._host.pools[name]
        former, note = find_rollback(pool.current, resolve_release)
        again = former.release.config
        if not still_exists(again):
            raise StartError(f"pool {name}: the directory of its previous generation, {again.chdir}, does not exist")
        config = self._host.pools.in_force(self._host.config)
        pools = tuple(again if one.name == name else one for one in config.pools)
        config = replace(config, pools=pools, obstacles={})
        return Target(config, Scope((name,)), frozenset({name}), notes={name: note}, files=self._host.config)

    def _returning(self) -> frozenset[str]:
        """Name the pools whose socket files have been removed and can be made again."""
        return frozenset(name for name, pool in self._host.pools.items() if pool.listener.can_return)

    def _plan(self, target: Target, returning: frozenset[str]) -> Plan:
        running = {name: _running(pool, lost=name in returning) for name, pool in self._host.pools.items()}
        releases = {pool.name: resolve_release(pool) for pool in target.config.pools}
        settings = compare_settings(self._host.config.global_, target.config.global_)
        return make_plan(running, target.config, releases, target.scope, settings, target.left, target.notes)

    def _report(self, request: Request, message: dict[str, Any]) -> None:
        step = message["step"] if "step" in message else f"{message['swapped']} of {message['of']} workers replaced"
        self._host.emit(ReloadProgressed(step, pool=message.get("pool", "")))
        request.report(message)

    def _finished(self, request: Request, outcome: Outcome, *, is_attempt: bool = True) -> None:
        ok = outcome.status == EXIT_OK
        self._current = None
        if is_attempt:
            reason = "; ".join(outcome.reasons)
            self.last = LastReload(self._clock(), ok, reason, show_calls(read_frames(outcome.traceback)))
            for pool in self._host.pools.values():
                pool.header.reloaded(self.last.at, ok=ok)
        ended = ReloadEnded(ok, outcome.reasons, outcome.traceback, outcome.given_up, outcome.partial)
        self._host.emit(ended)
        request.report(_answer(outcome))
        if self._waiting and self._current is None:
            self._begin(self._waiting.popleft())


def _refuse_unknown(named: Collection[str], known: Collection[str]) -> None:
    there_are = ", ".join(sorted(known))
    unknown = [f"there is no pool {name!r}; there are: {there_are}" for name in named if name not in known]
    if unknown:
        raise UnknownPool(unknown)


def _running(pool: PoolSupervisor, *, lost: bool) -> RunningPool:
    board = pool.resources.board
    room = children_for(board.slots) if board is not None else 2**31
    return RunningPool(pool.config, pool.current.release, room, sleeps(pool), lost)


def _answer(outcome: Outcome) -> dict[str, Any]:
    return {
        "ok": outcome.status == EXIT_OK,
        "status": outcome.status,
        "complaints": list(outcome.reasons),
        "traceback": outcome.traceback,
        "partial": outcome.partial,
    }
