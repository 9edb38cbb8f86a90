"""What to do about the memory of a pool's processes: one look, limits and sizes in, levels and fates out.

A worker's own limits are measured by its resident size, those of the pool by what each process has for itself and its
part of what it shares (`share_of`). All sizes are bytes, all times monotonic seconds.

Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum, IntEnum

from fpm.config.model import PoolConfig
from fpm.frozen import dataclass
from fpm.master.processes.memory_notes import MemoryNotes

EXACT_LOOK = 2.0
"""Seconds between two looks where memory is to be bounded."""
SOFT_LOOK = 5.0
"""Where pm.max_memory alone is set, which the workers look after, too."""
LONG = 2.0
"""Seconds from which a request is long: with a shorter one a worker sees by itself, at its end, that it is large."""
EASED = 0.9
"""Of a limit of the pool: from here on it counts as kept again."""
SETTLING = 6.0
"""Seconds for which a pool must seem to be above a limit before that counts, if processes are new since the others were
measured: what is shared with them is counted twice until all have been measured anew."""
RECYCLED_AT_ONCE = 4
"""One worker of so many is replaced because of one look, and at least one: until they leave, there are both."""
PART_MAX = 0.01
"""Of the master's time that the looks at one pool may take."""


class Level(IntEnum):
    """How a pool's memory stands to its limits."""

    WITHIN = 0
    SOFT = 1
    """Above pm.memory_soft."""
    HARD = 2
    """Above pm.memory_hard."""


class Fate(Enum):
    """What is to become of a worker."""

    RECYCLE = "recycle"
    """Above pm.max_memory: it leaves after its request, when its replacement is there."""
    KILL = "kill"
    """Above pm.max_memory_hard: stack, then SIGKILL."""
    DISCARD = "discard"
    """Above pm.max_memory_hard and idle: it leaves now and is replaced."""
    SPARE = "spare"
    """Idle, in a pool that is above pm.memory_soft: it leaves."""
    RECLAIM = "reclaim"
    """The largest of a pool that is above pm.memory_hard: it leaves after its request."""


@dataclass(frozen=True, slots=True)
class WorkerMemory:
    """A worker as it is now."""

    resident: int
    """With what it shares with its template; 0: not known."""
    share: int
    """What it counts for in the pool."""
    serving: bool = True
    """It is one of those that the process manager counts, and has started."""
    accepting: bool = True
    """It takes connections; one that waits for its replacement may, too."""
    leaving: bool = False
    """It has been told to leave, or waits for its replacement."""
    idle: bool = False
    """It has no request."""
    busy_for: float = 0.0
    """Seconds that its request has run."""
    large_at_start: bool = False
    """It had more than pm.max_memory before its first request."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the last look at a pool has found."""

    level: Level = Level.WITHIN
    rising_since: float | None = None
    """Since when it seems to be above a higher limit; None: it does not."""


@dataclass(frozen=True, slots=True)
class PoolMemory:
    """The processes of a pool at one moment."""

    workers: Sequence[WorkerMemory]
    others: int = 0
    """What those use that are no workers."""
    is_settled: bool = True
    """All have been measured since the youngest began."""

    @property
    def used(self) -> int:
        """What all of them use."""
        return self.others + sum(worker.share for worker in self.workers)


@dataclass(frozen=True, slots=True)
class MemoryDecision:
    """One look at a pool."""

    standing: Standing
    fates: tuple[tuple[int, Fate], ...] = ()
    """Which worker, by its place in the census, and what becomes of it."""


def is_limited(config: PoolConfig) -> bool:
    """Is there a limit for which somebody has to look?"""
    return max(config.pm_max_memory, config.pm_max_memory_hard, config.pm_memory_soft, config.pm_memory_hard) > 0


def is_pool_limited(config: PoolConfig) -> bool:
    """Is there a limit of the pool as a whole?"""
    return max(config.pm_memory_soft, config.pm_memory_hard) > 0


def needs_pss(config: PoolConfig, resident: int) -> bool:
    """May the pool be near a limit, if its resident sizes have this sum, which is more than it really uses?"""
    limits = [limit for limit in (config.pm_memory_soft, config.pm_memory_hard) if limit]
    return bool(limits) and resident > EASED * min(limits)


def pause_after(config: PoolConfig, spent: float) -> float:
    """Return the seconds until the next look, if the last one has taken so many."""
    exact = is_pool_limited(config) or config.pm_max_memory_hard > 0
    return max(EXACT_LOOK if exact else SOFT_LOOK, spent / PART_MAX)


def share_of(notes: MemoryNotes, resident: int, template: int) -> int:
    """Return what a process counts for: its PSS and how much it has grown since that was measured.

    Args:
        template: the resident size of the template that it was forked from; 0 for a template itself.
    """
    if notes.pss is None:
        return max(resident - template, 0)
    return notes.pss + max(resident - notes.resident_then, 0) if resident else 0


def level_of(config: PoolConfig, used: int, former: Level) -> Level:
    """Compare what a pool uses with its limits; `former`: what the last look has found."""
    for level, limit in ((Level.HARD, config.pm_memory_hard), (Level.SOFT, config.pm_memory_soft)):
        if limit and used > (limit * EASED if former >= level else limit):
            return level
    return Level.WITHIN


def decide(config: PoolConfig, memory: PoolMemory, former: Standing, now: float) -> MemoryDecision:
    """Decide about the workers of a pool; `former`: what the last look has found."""
    workers = memory.workers
    standing = _stand(level_of(config, memory.used, former.level), memory, former, now)
    fates = {at: fate for at, worker in enumerate(workers) if (fate := _hard_fate(config, worker)) is not None}
    fates |= dict.fromkeys(_outgrown(config, workers), Fate.RECYCLE)
    if standing.level >= Level.SOFT:
        fates |= dict.fromkeys(_surplus(config, workers, fates), Fate.SPARE)
    if standing.level is Level.HARD:
        gone = sum(worker.share for at, worker in enumerate(workers) if worker.leaving or at in fates)
        victim = _victim(workers, fates) if memory.used - gone > config.pm_memory_hard else None
        if victim is not None:
            fates[victim] = Fate.RECLAIM
    return MemoryDecision(standing, tuple(sorted(fates.items(), key=lambda pair: pair[0])))


def _stand(level: Level, memory: PoolMemory, former: Standing, now: float) -> Standing:
    if level <= former.level:
        return Standing(level)
    since = now if former.rising_since is None else former.rising_since
    if memory.is_settled or now - since >= SETTLING:
        return Standing(level)
    return Standing(former.level, since)


def _hard_fate(config: PoolConfig, worker: WorkerMemory) -> Fate | None:
    if not 0 < config.pm_max_memory_hard < worker.resident:
        return None
    return Fate.DISCARD if worker.idle and worker.accepting else Fate.KILL


def _outgrown(config: PoolConfig, workers: Sequence[WorkerMemory]) -> list[int]:
    """List some of those that are above pm.max_memory, the largest first."""
    soft, hard = config.pm_max_memory, config.pm_max_memory_hard
    found = [
        at
        for at, one in enumerate(workers)
        if one.serving
        and not one.large_at_start
        and 0 < soft < one.resident <= (hard or one.resident)
        and (one.idle or one.busy_for >= LONG)
    ]
    found.sort(key=lambda at: -workers[at].resident)
    return found[: max(sum(one.serving for one in workers) // RECYCLED_AT_ONCE, 1)]


def _surplus(config: PoolConfig, workers: Sequence[WorkerMemory], fates: Collection[int]) -> list[int]:
    """List the idle workers that a pool above its soft limit does not keep."""
    if config.pm == "static":
        return []
    idle = _largest(workers, fates, idle=True)
    return idle[: max(len(idle) - max(config.pm_min_spare_servers, 1), 0)]


def _victim(workers: Sequence[WorkerMemory], fates: Collection[int]) -> int | None:
    """Choose who leaves of a pool above its hard limit; None: too few would remain."""
    idle, busy = _largest(workers, fates, idle=True), _largest(workers, fates, idle=False)
    if len(idle) > 1:
        return idle[0]
    return busy[0] if busy and len(idle) + len(busy) > 1 else None


def _largest(workers: Sequence[WorkerMemory], fates: Collection[int], *, idle: bool) -> list[int]:
    """List those that serve and are not to leave yet, the largest first."""
    found = [at for at, one in enumerate(workers) if one.serving and one.idle is idle and at not in fates]
    return sorted(found, key=lambda at: -workers[at].share)
