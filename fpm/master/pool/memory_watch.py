"""Watches the memory of one pool's processes, as long as it has workers and a limit: one look every few seconds.

Rules of the file. What is to become of whom is `memory_limits`' decision. Resident sizes are read here, for that takes
microseconds; proportional ones come from the memory reader, and only while the pool is near a limit.
"""

from __future__ import annotations

import time
from typing import Protocol

from fpm.config.model import PoolConfig
from fpm.events.base import PoolEvent
from fpm.events.pool import PoolLimit, PoolMemoryEased, PoolOverMemory
from fpm.events.worker import WorkerDiscarded, WorkerKilledForMemory, WorkerReclaimed
from fpm.master.loop.loop import NamedTimers
from fpm.master.pool.child import Child
from fpm.master.pool.header import PoolHeader
from fpm.master.pool.history import MAX_MEMORY_HARD, MEMORY_HARD, MEMORY_SOFT, Record
from fpm.master.pool.memory_limits import (
    Fate,
    Level,
    PoolMemory,
    Standing,
    WorkerMemory,
    decide,
    is_limited,
    is_pool_limited,
    needs_pss,
    pause_after,
    share_of,
)
from fpm.master.pool.scaling import Scaler
from fpm.master.pool.stack_capture import read_current_request, why_no_stack
from fpm.master.pool.templates import Templates
from fpm.master.pool.worker_state import WorkerEvent, WorkerState
from fpm.master.pool.workers import Workers
from fpm.master.processes.memory_notes import Measurable
from fpm.master.services import Services
from fpm.scoreboard.memory_level import MemoryState
from fpm.scoreboard.stages import Stage
from fpm.status.figures import format_size
from fpm.system.proc_memory import read_resident

FIRST_LOOK = 1.0
"""Seconds after workers have been asked for."""
STACK_TIME = 2.0
"""Seconds that the stack of a worker may take that is to be killed."""
_NAMES: dict[Level, PoolLimit] = {Level.SOFT: "pm.memory_soft", Level.HARD: "pm.memory_hard"}


class Pool(Protocol):
    """A pool, as far as its memory is concerned."""

    services: Services
    workers: Workers
    templates: Templates
    scaler: Scaler
    header: PoolHeader
    record: Record

    @property
    def config(self) -> PoolConfig:
        """The configuration in force."""

    def emit(self, event: PoolEvent) -> None:
        """Something has happened in this pool."""


class MemoryWatch:
    """Looks after the memory of one pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._in_hand: set[Child] = set()
        """Their stack is being taken before they are killed."""
        self._standing = Standing()
        self._used = 0
        """By all processes, at the last look."""
        self._timers = NamedTimers(pool.services.loop)
        self._show(Level.WITHIN)

    def watch(self) -> None:
        """There are workers, or there will be: see that somebody looks."""
        if is_limited(self._pool.config) and "look" not in self._timers:
            self._timers.set("look", FIRST_LOOK, self._look)

    def take_config(self) -> None:
        """Other limits; they count from now on."""
        if is_limited(self._pool.config):
            self._timers.set("look", 0.0, self._look)
        else:
            self._rest()

    def _rest(self) -> None:
        """There are no workers or no limits any more: the next worker that is asked for, or limit, begins anew."""
        self.close()
        self._used = 0
        self._enter(Standing())

    def close(self) -> None:
        """Look no more."""
        self._timers.cancel_all()

    def measurable(self) -> list[Measurable]:
        """List the processes whose PSS is of interest: the workers; where the pool has a limit, its templates, too."""
        name = self._pool.config.name
        found = [Measurable(child.pid, name, child.notes.memory) for child in self._pool.workers.children]
        if is_pool_limited(self._pool.config):
            found += [Measurable(template.pid, name, template.memory) for template in self._pool.templates.all()]
        return found

    # ---------------------------------------------------------------- a look

    def _look(self) -> None:
        if not self._pool.workers.children:
            self._rest()
            return
        began, config, now = time.monotonic(), self._pool.config, self._pool.services.loop.now
        children = list(self._pool.workers.children)
        self._in_hand &= set(children)
        decision = decide(config, self._measure(children), self._standing, now)
        self._enter(decision.standing)
        for at, fate in decision.fates:
            self._act(children[at], fate)
        self._timers.set("look", pause_after(config, time.monotonic() - began), self._look)

    def _measure(self, children: list[Child]) -> PoolMemory:
        """Read how large the processes are."""
        sizes = {child: read_resident(child.pid) if child.pid else 0 for child in children}
        templates = {one: read_resident(one.pid) for one in self._pool.templates.all() if one.pid}
        if needs_pss(self._pool.config, sum(sizes.values()) + sum(templates.values())):
            self._pool.services.memory.sample(self.measurable(), self._pool.services.loop.now)
        youngest = max(child.notes.started for child in children)
        notes = [one.notes.memory for one in children] + [one.memory for one in templates]
        memory = PoolMemory(
            [self._see(child, sizes[child], templates.get(child.template, 0)) for child in children],
            sum(share_of(one.memory, resident, 0) for one, resident in templates.items()),
            all(one.pss_at > youngest for one in notes),
        )
        self._used = memory.used
        return memory

    def _see(self, child: Child, resident: int, template: int) -> WorkerMemory:
        stage, state, limit = child.stage, child.state, self._pool.config.pm_max_memory
        idle = stage is Stage.ACCEPTING
        busy_for = 0.0
        if not idle and 0 < limit < resident:
            request = read_current_request(child, self._pool.services.loop.now)
            busy_for = request.seconds if request.number else 0.0
        return WorkerMemory(
            resident=resident,
            share=share_of(child.notes.memory, resident, template),
            serving=state.is_counted and not state.is_starting,
            accepting=state.is_serving,
            leaving=state.is_leaving,
            idle=idle,
            busy_for=busy_for,
            large_at_start=child.notes.memory_at_start > limit,
        )

    def _enter(self, standing: Standing) -> None:
        """Say what has begun or ended, and let the pool grow accordingly."""
        former, level, config = self._standing.level, standing.level, self._pool.config
        self._standing = standing
        sizes = {Level.SOFT: config.pm_memory_soft, Level.HARD: config.pm_memory_hard}
        self._show(level)
        if level is former:
            return
        if level > former:
            self._pool.emit(PoolOverMemory(_NAMES[level], sizes[level], self._used, pool=config.name))
        elif sizes[former]:
            self._pool.emit(PoolMemoryEased(_NAMES[former], sizes[former], self._used, pool=config.name))
        self._pool.scaler.set_memory(level)

    def _show(self, level: Level) -> None:
        shown = MemoryState.WITHIN + level if is_pool_limited(self._pool.config) else MemoryState.UNLIMITED
        if self._pool.record.values.memory_level != shown:
            self._pool.record.values.memory_level = shown
            self._pool.header.write()

    # ---------------------------------------------------------------- what becomes of a worker

    def _act(self, child: Child, fate: Fate) -> None:
        config, name, resident = self._pool.config, self._pool.config.name, read_resident(child.pid)
        request = read_current_request(child, self._pool.services.loop.now).name
        if fate is Fate.RECYCLE:
            self._pool.workers.recycle(child, resident, request)
        elif fate is Fate.KILL:
            self._kill(child)
        elif fate is Fate.DISCARD:
            self._pool.emit(WorkerDiscarded(resident, config.pm_max_memory_hard, pool=name, pid=child.pid))
            self._discard(child)
        elif fate is Fate.SPARE:
            self._pool.workers.retire(child, MEMORY_SOFT)
        elif fate is Fate.RECLAIM:
            self._pool.emit(WorkerReclaimed(resident, request, pool=name, pid=child.pid))
            self._pool.workers.retire(child, MEMORY_HARD)

    def _discard(self, child: Child) -> None:
        is_counted, requests = child.state.is_counted, child.slot.read().requests
        self._pool.workers.retire(child, MAX_MEMORY_HARD)
        if is_counted and requests:
            self._pool.scaler.refill()
        elif is_counted:
            # The next one will be as large: a pause that grows.
            self._pool.scaler.worker_died(self._pool.services.loop.now - child.notes.started, requests)

    def _kill(self, child: Child) -> None:
        if child in self._in_hand or child.state in (WorkerState.KILLED, WorkerState.GONE):
            return
        self._in_hand.add(child)
        self._pool.workers.termination.when_taken(child, "memory", STACK_TIME, lambda: self._kill_now(child))

    def _kill_now(self, child: Child) -> None:
        """Its stack has come, or it is late: kill it, unless it has got smaller."""
        self._in_hand.discard(child)
        memory, limit = read_resident(child.pid), self._pool.config.pm_max_memory_hard
        if not 0 < limit < memory:
            return
        request = read_current_request(child, self._pool.services.loop.now)
        told = request.name, request.seconds, memory, limit, request.doing, why_no_stack(child.notes.last_stack)
        self._pool.emit(WorkerKilledForMemory(*told, pool=self._pool.config.name, pid=child.pid))
        error = f"its worker uses more memory than pm.max_memory_hard allows ({format_size(limit)})"
        self._pool.workers.happen(child, WorkerEvent.OVER_MEMORY, reason=MAX_MEMORY_HARD, error=error)
