"""How many workers a pool should have: static, dynamic, ondemand. Pure arithmetic on a census.

The words and limits are PHP-FPM's (fpm_pctl_perform_idle_server_maintenance); what differs, on purpose:
a burst is answered at once and not once a second (`decide_burst`), and all surplus goes together when its time is up.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum

from fpm.config.model import PoolConfig
from fpm.frozen import dataclass
from fpm.master.pool.memory_limits import Level

BUSY_RATE = 8
"""From this spawn rate on a pool is said to be busy (PHP-FPM's figure)."""


@dataclass(frozen=True, slots=True)
class Census:
    """The workers of a pool that have not been told to leave, and how many have."""

    idle: int
    active: int
    starting: int
    leaving: int = 0
    """Those that have been told to leave, or wait for their replacement."""

    @property
    def total(self) -> int:
        """All that have not been told to leave."""
        return self.idle + self.active + self.starting


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What to do now, and when to look again.

    Attributes:
        spawn: workers to make.
        retire: workers to send away, those longest idle first.
        rate: the spawn rate for the next turn.
        reached_max: more workers were wanted than pm.max_children allows.
        busy: worth the warning that the pool seems busy.
        look_again: seconds until the next turn; None: not before something happens.
    """

    spawn: int = 0
    retire: int = 0
    rate: int = 1
    reached_max: bool = False
    busy: bool = False
    look_again: float | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """Workers that are wanted for other reasons than the load.

    Attributes:
        first: of a beginning generation, still to be made.
        owed: in place of those that have died unasked, or leave at their limit.
    """

    first: int = 0
    owed: int = 0

    def wanted(self, missing: int = 0) -> int:
        """Say how many to make now; `missing` are those that a static pool lacks."""
        return max(self.first, self.owed, missing)

    def less(self, made: int) -> Demand:
        """Take off workers that have been asked for."""
        return Demand(max(self.first - made, 0), max(self.owed - made, 0))


class Notice(Enum):
    """How the next change of a pool is noticed."""

    NONE = "none"
    """Something reports, or a timer runs."""
    CONNECTION = "connection"
    """A connection waits: nobody is idle."""
    BUSY = "busy"
    """Too few workers are idle."""


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """What to watch until the next change.

    Attributes:
        below: for BUSY, the number of idle workers below which the master wakes up.
        look_again: look in a second, for nobody can be added and none tells when the load is over.
    """

    notice: Notice
    below: int = 0
    look_again: bool = False


def limit_by_memory(config: PoolConfig, census: Census, level: Level) -> PoolConfig:
    """Return the numbers by which a pool goes on that uses more memory than it should.

    Above the soft limit it has no spare worker but one; above the hard one it does not grow at all.
    """
    if level is Level.WITHIN:
        return config
    is_short = census.idle + census.starting == 0
    most = config.pm_max_children
    if level is Level.HARD or config.pm == "static":
        growth = int(is_short) if level is Level.SOFT else 0
        most = min(most, max(census.total + growth, 1))
    return replace(config, pm_max_children=most, pm_min_spare_servers=min(config.pm_min_spare_servers, 1))


def first_workers(config: PoolConfig) -> int:
    """Say how many workers a pool starts with."""
    return {"static": config.pm_max_children, "dynamic": config.pm_start_servers, "ondemand": 0}[config.pm]


def wake_threshold(config: PoolConfig, *, hurried: bool) -> int:
    """Say below how many idle workers the master wants to be told.

    Args:
        hurried: the maintenance timer runs anyway and looks after spare workers, only "nobody idle" is urgent.
    """
    if config.pm == "static":
        return 0
    if config.pm == "dynamic" and not hurried:
        return max(config.pm_min_spare_servers, 1)
    return 1


def decide_watch(config: PoolConfig, census: Census, *, hurried: bool, resting: bool) -> WatchPlan | None:
    """Choose how the next change is noticed; None: as before.

    Args:
        hurried: see `wake_threshold`.
        resting: a look in a second has been arranged.
    """
    if config.pm == "static":
        # Nobody can be added; only how many wait at most is to be known, once a second while all are busy.
        if resting:
            return None
        return WatchPlan(Notice.BUSY, below=1) if census.idle > 0 else WatchPlan(Notice.NONE, look_again=True)
    if census.idle > 0:
        return WatchPlan(Notice.BUSY, below=wake_threshold(config, hurried=hurried))
    if census.total < config.pm_max_children:
        # Also while workers are starting: with an import of its own each may take seconds, and more clients come.
        return WatchPlan(Notice.CONNECTION)
    return WatchPlan(Notice.NONE, look_again=census.starting == 0)  # one that starts will report ready


def room_beside_leaving(config: PoolConfig, census: Census) -> int:
    """Count the workers that may be made: with those that leave, a pool has at most twice pm.max_children."""
    return max(2 * config.pm_max_children - census.total - census.leaving, 0)


def missing_workers(config: PoolConfig, census: Census) -> int:
    """Count the workers that a pool lacks whatever the load is."""
    return max(config.pm_max_children - census.total, 0) if config.pm == "static" else 0


def decide_burst(config: PoolConfig, census: Census, waiting: int) -> int:
    """Decide how many workers to make at once because connections wait and nobody is idle.

    Args:
        waiting: connections in the listen queue.
    """
    if census.idle > 0:
        return 0
    return max(0, min(waiting - census.starting, config.pm_max_children - census.total))


def decide_maintenance(config: PoolConfig, census: Census, rate: int, idle_for: Sequence[float]) -> Maintenance:
    """Decide about the regular turn of a pool.

    Args:
        rate: the spawn rate that the last turn gave.
        idle_for: seconds that each idle worker has been idle, in any order.
    """
    if config.pm == "dynamic":
        return _maintain_dynamic(config, census, rate, idle_for)
    if config.pm == "ondemand":
        return _maintain_ondemand(config, census, idle_for)
    missing = config.pm_max_children - census.total
    return Maintenance(spawn=max(missing, 0), retire=max(-missing, 0))


def _maintain_ondemand(config: PoolConfig, census: Census, idle_for: Sequence[float]) -> Maintenance:
    timeout = config.pm_process_idle_timeout
    over = sum(1 for seconds in idle_for if seconds >= timeout)
    remaining = [timeout - seconds for seconds in idle_for if seconds < timeout]
    busy = census.active + census.starting
    # A worker that is busy now cannot be over its time before a whole timeout has passed.
    look_again = min(remaining, default=timeout) if remaining or busy else None
    return Maintenance(retire=over, look_again=look_again)


def _maintain_dynamic(config: PoolConfig, census: Census, rate: int, idle_for: Sequence[float]) -> Maintenance:
    spare = census.idle + census.starting
    if spare > config.pm_max_spare_servers:
        surplus = spare - config.pm_max_spare_servers
        over = sum(1 for seconds in idle_for if seconds >= config.pm_process_idle_timeout)
        return Maintenance(retire=min(surplus, over), look_again=1.0)
    if spare >= config.pm_min_spare_servers:
        # Workers that become idle tell nobody: while there are busy ones, look whether they have become surplus.
        unsettled = census.active > 0 or census.starting > 0
        return Maintenance(look_again=1.0 if unsettled else None)
    missing = config.pm_min_spare_servers - spare
    room = config.pm_max_children - census.total
    if room <= 0:
        return Maintenance(reached_max=True, look_again=1.0)
    return Maintenance(
        spawn=min(rate, missing, room),
        rate=min(rate * 2, config.pm_max_spawn_rate),
        busy=rate >= BUSY_RATE,
        look_again=1.0,
    )
