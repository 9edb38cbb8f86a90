"""What is said of workers that exceed pm.max_memory, and of the limit if it is too small."""

from __future__ import annotations

from collections.abc import Callable

from fpm.config.model import PoolConfig
from fpm.events.base import PoolEvent
from fpm.events.worker import MemoryLimitLow, MemoryLimitNotApplied, WorkerOverMemory
from fpm.master.pool.child import Child
from fpm.master.pool.current_config import CurrentConfig
from fpm.master.processes.backoff import YOUNG
from fpm.master.services import Services

FEW = 10
"""Requests: a young worker that has grown beyond pm.max_memory with so few does not leak, it needs that much."""


class Recycling:
    """Says it for one pool."""

    def __init__(self, services: Services, current: CurrentConfig, emit: Callable[[PoolEvent], None]) -> None:
        self._services = services
        self._current = current
        self._emit = emit
        self._warned_of = 0
        """The value of pm.max_memory (bytes) that has been said to be too small."""

    @property
    def config(self) -> PoolConfig:
        """The configuration in force."""
        return self._current.config

    def over_memory(self, child: Child, memory: int) -> None:
        """A worker has stopped accepting because of the bytes of its peak."""
        limit, requests = self.config.pm_max_memory, child.slot.read().requests
        name, pid = self.config.name, child.pid
        self._emit(WorkerOverMemory(memory, limit, requests, pool=name, pid=pid))
        age = self._services.loop.now - child.notes.started
        if age < YOUNG and requests <= FEW:
            self._warn(MemoryLimitLow(limit, requests, age, pool=name, pid=pid))

    def over_memory_at_start(self, child: Child, memory: int) -> None:
        """A worker has used more than pm.max_memory before its first request: it serves without the limit."""
        if memory:
            self._warn(MemoryLimitNotApplied(memory, self.config.pm_max_memory, pool=self.config.name, pid=child.pid))

    def _warn(self, event: PoolEvent) -> None:
        if self._warned_of != self.config.pm_max_memory:
            self._warned_of = self.config.pm_max_memory
            self._emit(event)
