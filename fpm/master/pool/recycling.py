"""Workers that leave to be replaced: at pm.max_requests, and at pm.max_memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.master.pool.child import Child
from fpm.master.pool.history import MAX_MEMORY, MAX_REQUESTS
from fpm.master.processes.backoff import YOUNG
from fpm.status.figures import format_size, format_span

if TYPE_CHECKING:
    from fpm.master.pool.supervisor import PoolSupervisor

FEW = 10
"""Requests: a young worker that has grown beyond pm.max_memory with so few does not leak, it needs that much."""


class Recycling:
    """Of one pool."""

    def __init__(self, pool: PoolSupervisor) -> None:
        self._pool = pool
        self._warned_of = 0
        """The value of pm.max_memory (bytes) that has been said to be too small."""

    def limit_reached(self, child: Child, memory: int) -> None:
        """It has stopped accepting at a limit; its replacement is made before it leaves.

        Args:
            memory: bytes of its peak if that is why, else 0.
        """
        pool, reason = self._pool, MAX_MEMORY if memory else MAX_REQUESTS
        if memory:
            self._tell(child, memory)
        if child.outgoing or pool.stopping:
            pool.workers.retire(child, reason, pool.services.settings.process_control_timeout)
            return
        child.leaving = reason
        child.awaits_replacement = True
        if not child.template.preload:
            # Its replacement has to import the application first, which may take long, or fail.
            pool.workers.serve(child)
        pool.staffing.replace_one()

    def is_large(self, child: Child, memory: int) -> None:
        """It has used more than pm.max_memory before its first request: it serves without the limit."""
        if memory:
            self._warn(
                f"child {child.pid} uses {format_size(memory)} of memory from its start on, "
                f"more than pm.max_memory ({format_size(self._limit)}), which is not applied to such workers: "
                "each would leave after one request. Set it well above the size of the application"
            )

    @property
    def _limit(self) -> int:
        return self._pool.config.pm_max_memory

    def _tell(self, child: Child, memory: int) -> None:
        pool, requests = self._pool, child.read_slot().requests
        age = pool.services.loop.now - child.started
        pool.log(
            "notice",
            f"child {child.pid} has used {format_size(memory)} of memory, more than pm.max_memory "
            f"({format_size(self._limit)}); it is replaced after {requests} requests",
        )
        if age < YOUNG and requests <= FEW:
            self._warn(
                f"pm.max_memory ({format_size(self._limit)}) seems to be less than the application needs: "
                f"child {child.pid} has exceeded it after {requests} requests and {format_span(age)}, "
                "consider raising it"
            )

    def _warn(self, text: str) -> None:
        if self._warned_of != self._limit:
            self._warned_of = self._limit
            self._pool.log("warning", text)
