"""What a reload has to do: the difference between two configurations, pool by pool.

A change of numbers, times, log paths or formats is applied to the running processes; everything that decides what a
process is (code, interpreter, identity, environment, jail) needs a new generation. The row of a directive
says which. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from enum import Enum

from fpm.config.directives import GLOBAL_DIRECTIVES, POOL_DIRECTIVES
from fpm.config.model import Config, GlobalConfig, PoolConfig

_ROWS = {row.attribute: row for row in POOL_DIRECTIVES.values()}
IGNORED = frozenset({"where"})
"""A section that has moved in its file is still the same."""


class Action(Enum):
    """What becomes of a pool."""

    NOTHING = "unchanged"
    LIVE = "numbers changed, applied to the running workers"
    GENERATION = "new generation"
    ADD = "new pool"
    REMOVE = "removed, its workers finish their requests"
    LEAVE = "left as it is, for this machine lacks what it needs"


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """The plan for one pool.

    Attributes:
        changed: names of the directives that differ.
        moves: the listening address changes: the new one is bound before the old one is left.
        socket: owner, mode or backlog of the listening socket change.
    """

    name: str
    action: Action
    changed: tuple[str, ...] = ()
    moves: bool = False
    socket: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a reload, in the order of the new configuration, removed pools last.

    Attributes:
        settings: names of the [global] directives that differ.
    """

    pools: tuple[PoolPlan, ...]
    settings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For `pyfpm reload --dry-run`."""
        settings = [f"[global]: changed ({', '.join(self.settings)})"] if self.settings else []
        return settings + [describe(pool) for pool in self.pools]


def describe(plan: PoolPlan) -> str:
    """One line about one pool."""
    text = f"pool {plan.name}: {plan.action.value}"
    if plan.moves:
        text += ", moves to another listening address"
    elif plan.socket:
        text += ", listening socket adjusted"
    return text + (f" ({', '.join(plan.changed)})" if plan.changed else "")


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
    running: Mapping[str, PoolConfig],
    config: Config,
    named: Collection[str],
    room: Mapping[str, int],
    settings: tuple[str, ...] = (),
    left: Collection[str] = (),
) -> Plan:
    """Compare what runs with a new configuration.

    Pools that have been named get a new generation in any case. If nobody was named and nothing differs, the reload is
    for the code: then all of them do.

    Args:
        running: configurations of the running pools.
        named: pools that the administrator has named.
        room: for each running pool, the largest pm.max_children that its scoreboard has room for.
        settings: the [global] directives that differ.
        left: pools that stay as they are in any case.
    """
    plans = [
        PoolPlan(pool.name, Action.LEAVE)
        if pool.name in left
        else _plan_pool(running.get(pool.name), pool, named, room.get(pool.name, 0))
        for pool in config.pools
    ]
    names = {pool.name for pool in config.pools}
    plans += [PoolPlan(name, Action.REMOVE) for name in running if name not in names]
    if not named and not settings and all(plan.action in (Action.NOTHING, Action.LEAVE) for plan in plans):
        plans = [plan if plan.action is Action.LEAVE else PoolPlan(plan.name, Action.GENERATION) for plan in plans]
    return Plan(tuple(plans), settings)


def _plan_pool(old: PoolConfig | None, new: PoolConfig, named: Collection[str], room: int) -> PoolPlan:
    if old is None:
        return PoolPlan(new.name, Action.ADD)
    changed = compare_pools(old, new)
    shown = tuple(sorted(directive_name(name) for name in changed))
    ways = {_ROWS[attribute].applies if attribute in _ROWS else "generation" for attribute in changed}
    needs_generation = "generation" in ways or new.pm_max_children > room
    if needs_generation or new.name in named:
        action = Action.GENERATION
    elif changed:
        action = Action.LIVE
    else:
        action = Action.NOTHING
    return PoolPlan(new.name, action, shown, moves="listen" in changed, socket="socket" in ways)
