"""What a reload has to do: the difference between two configurations, pool by pool.

A change of numbers, times, log paths or formats is applied to the running processes; everything that decides what a
process is (code, interpreter, identity, environment, jail) needs a new generation. The row of a directive
says which. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

from fpm.cgroups.bounds import has_group
from fpm.config.directives import GLOBAL_DIRECTIVES, POOL_DIRECTIVES
from fpm.config.model import Config, GlobalConfig, PoolConfig
from fpm.frozen import dataclass
from fpm.master.pool.release import Release

_ROWS = {row.attribute: row for row in POOL_DIRECTIVES.values()}
PRIORITY = "process.priority"
"""The directive of [global] that counts for pools without their own."""
IGNORED = frozenset({"where"})
"""A section that has moved in its file is still the same."""


class Action(Enum):
    """What becomes of a pool."""

    NOTHING = "unchanged"
    LIVE = "numbers changed, applied to the running workers"
    GENERATION = "new generation"
    WAKE = "sleeps, new generation with the next request"
    ADD = "new pool"
    REMOVE = "removed, its workers finish their requests"
    LEAVE = "left as it is, for this machine lacks what it needs"


IMPORTING = frozenset({Action.GENERATION, Action.WAKE, Action.ADD})
"""The application is imported, now or later."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which pools a reload concerns: all, if it names none and does not ask for the changed ones.

    Attributes:
        named: they get a new generation in any case; of the others, those whose configuration differs.
        changed: those whose configuration, or what its paths lead to, differs.
    """

    named: tuple[str, ...] = ()
    changed: bool = False

    @property
    def everything(self) -> bool:
        """Does every pool that runs get a new generation?"""
        return not self.named and not self.changed

    def covers(self, name: str) -> bool:
        """Does it concern this pool, whether it has changed or not?"""
        return self.everything or self.changed or name in self.named

    def joined(self, other: Scope) -> Scope:
        """Cover both."""
        if self.everything or other.everything:
            return Scope()
        return Scope(tuple(dict.fromkeys((*self.named, *other.named))), self.changed or other.changed)


ALL = Scope()


@dataclass(frozen=True, slots=True)
class RunningPool:
    """What a plan needs to know about a pool of the daemon.

    Attributes:
        room: the largest pm.max_children that its scoreboard has room for.
        sleeps: it has no process, and is in order: there is nothing to replace.
        lost: the file of its listening socket has been removed.
    """

    config: PoolConfig
    release: Release
    room: int
    sleeps: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """The plan for one pool.

    Attributes:
        changed: names of the directives that differ.
        moves: the listening address changes: the new one is bound before the old one is left.
        rebinds: its socket's file has been removed: it gets a new socket at the same address.
        socket: owner, mode or backlog of the listening socket change.
        config, release: what it gets; None if it is removed.
        note: to be said beside.
    """

    name: str
    action: Action
    changed: tuple[str, ...] = ()
    moves: bool = False
    rebinds: bool = False
    socket: bool = False
    config: PoolConfig | None = None
    release: Release | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a reload, in the order of the new configuration, removed pools last.

    Attributes:
        settings: names of the [global] directives that differ.
    """

    pools: tuple[PoolPlan, ...]
    settings: tuple[str, ...] = ()

    def of(self, name: str) -> PoolPlan:
        """Return the plan for one of the pools."""
        return next(pool for pool in self.pools if pool.name == name)

    def lines(self) -> list[str]:
        """For the command: a line for each pool."""
        return [*self._about_settings(), *map(describe, self.pools)]

    def objects(self) -> list[dict[str, Any]]:
        """For programs: an object for each pool."""
        return [_as_object(pool) for pool in self.pools]

    def log_lines(self) -> list[str]:
        """For the log: those that are left alone in one line."""
        alone = [pool.name for pool in self.pools if pool.action is Action.NOTHING]
        lines = [describe(pool) for pool in self.pools if pool.action is not Action.NOTHING]
        return [*self._about_settings(), *lines, *([f"unchanged: {', '.join(alone)}"] if alone else [])]

    def _about_settings(self) -> list[str]:
        return [f"[global]: changed ({', '.join(self.settings)})"] if self.settings else []


def _as_object(plan: PoolPlan) -> dict[str, Any]:
    directory = plan.release.directory if plan.release is not None and plan.action in IMPORTING else ""
    return {
        "pool": plan.name,
        "action": plan.action.name.lower(),
        "checked": plan.action in (Action.GENERATION, Action.ADD),
        "directory": directory,
        "changed": list(plan.changed),
        "note": plan.note,
    }


def describe(plan: PoolPlan) -> str:
    """One line about one pool."""
    text = f"pool {plan.name}: {plan.action.value}"
    directory = plan.release.directory if plan.release is not None and plan.action in IMPORTING else ""
    if directory:
        text += f", code from {directory}"
    if plan.moves:
        text += ", moves to another listening address"
    elif plan.rebinds:
        text += ", its listening socket, whose file was removed, is made again"
    elif plan.socket:
        text += ", listening socket adjusted"
    return text + (f" ({', '.join(plan.changed)})" if plan.changed else "") + (f"; {plan.note}" if plan.note else "")


def directive_name(attribute: str) -> str:
    """Name the directive of an attribute of PoolConfig, for messages: pm_max_children is pm.max_children."""
    return _ROWS[attribute].name if attribute in _ROWS else attribute


def compare_settings(old: GlobalConfig, new: GlobalConfig) -> tuple[str, ...]:
    """List the [global] directives that differ."""
    names = {row.attribute: row.name for row in GLOBAL_DIRECTIVES.values()}
    differ = (field.name for field in fields(GlobalConfig) if getattr(old, field.name) != getattr(new, field.name))
    return tuple(sorted(names.get(attribute, attribute) for attribute in differ))


def compare_pools(old: PoolConfig, new: PoolConfig) -> frozenset[str]:
    """The attributes that differ."""
    names = (field.name for field in fields(PoolConfig) if field.name not in IGNORED)
    return frozenset(name for name in names if getattr(old, name) != getattr(new, name))


def make_plan(
    running: Mapping[str, RunningPool],
    config: Config,
    releases: Mapping[str, Release],
    scope: Scope,
    settings: tuple[str, ...] = (),
    left: Collection[str] = (),
    notes: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """Compare what runs with a new configuration.

    Args:
        releases: what the paths of the new configuration lead to, by pool.
        settings: the [global] directives that differ.
        left: pools that stay as they are in any case.
        notes: what is to be said of pools.
    """
    plans = [
        PoolPlan(pool.name, Action.LEAVE)
        if pool.name in left
        else _plan_pool(running.get(pool.name), pool, releases[pool.name], scope, PRIORITY in settings)
        for pool in config.pools
    ]
    names = {pool.name for pool in config.pools}
    plans += [PoolPlan(name, Action.REMOVE) for name in running if name not in names]
    return Plan(tuple(replace(plan, note=notes.get(plan.name, "")) for plan in plans), settings)


def _plan_pool(
    old: RunningPool | None, new: PoolConfig, release: Release, scope: Scope, other_priority: bool
) -> PoolPlan:
    if old is None:
        return PoolPlan(new.name, Action.ADD, config=new, release=release)
    changed = compare_pools(old.config, new)
    ways = {_ROWS[attribute].applies if attribute in _ROWS else "generation" for attribute in changed}
    needs_generation = "generation" in ways or new.pm_max_children > old.room
    needs_generation |= has_group(new) != has_group(old.config)  # processes enter it when they begin
    if other_priority and new.process_priority is None:
        needs_generation, changed = True, changed | {"process_priority"}
    elsewhere = release.differences(old.release)
    rebinds = old.lost and scope.covers(new.name)
    if new.name in scope.named or needs_generation or rebinds:
        action = Action.GENERATION
    elif scope.everything or (scope.changed and elsewhere):
        action = Action.WAKE if old.sleeps and new.pm == "ondemand" else Action.GENERATION
    else:
        action = Action.LIVE if changed else Action.NOTHING
    shown = changed | (elsewhere if action in IMPORTING else frozenset())
    return PoolPlan(
        new.name,
        action,
        tuple(sorted(directive_name(name) for name in shown)),
        moves="listen" in changed,
        rebinds=rebinds,
        socket="socket" in ways,
        config=new,
        release=release,
    )
