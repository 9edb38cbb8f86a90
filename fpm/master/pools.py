"""The pools of a master, and the end of every process that is theirs."""

from __future__ import annotations

import time
from collections.abc import Callable

from fpm.events.base import Emit
from fpm.events.master import OrphanExited
from fpm.master.loop.loop import Loop
from fpm.master.pool.supervisor import PoolSupervisor
from fpm.master.pool.worker_state import WorkerEvent
from fpm.master.processes.exits import Usage, parse_status
from fpm.master.processes.process import reap_next

REAP_TIME = 0.03
"""Seconds of reaping in one turn of the loop: hundreds of processes may end at once."""


class Pools(dict[str, PoolSupervisor]):
    """The pools that serve, by name; and beside them those that a reload brings, and those that it has removed."""

    def __init__(self) -> None:
        super().__init__()
        self.incoming: dict[str, PoolSupervisor] = {}
        """Those of the reload in progress, before it takes effect."""
        self.draining: list[PoolSupervisor] = []
        """Those that have been removed and still have processes."""

    def all(self) -> list[PoolSupervisor]:
        """List every pool that may have processes."""
        return [*self.values(), *self.incoming.values(), *self.draining]

    def drain(self, pool: PoolSupervisor, timeout: float) -> None:
        """Let a pool that has been removed finish its requests.

        Args:
            timeout: seconds until its workers get SIGTERM.
        """
        self.draining.append(pool)
        pool.begin_stop()
        pool.end_workers(WorkerEvent.RETIRE, timeout)

    def close_drained(self) -> None:
        """Give back what removed pools without processes still hold."""
        for pool in [pool for pool in self.draining if pool.is_empty]:
            self.draining.remove(pool)
            pool.close()

    @property
    def are_empty(self) -> bool:
        """Has every process exited?"""
        return all(pool.is_empty for pool in self.all())

    def close(self) -> None:
        """Kill what is left, and give everything back."""
        for pool in self.all():
            pool.templates.kill_all()
            pool.close()


class Reaper:
    """Waits for processes that have exited, and tells their owners."""

    def __init__(self, loop: Loop, pools: Pools, others: dict[int, Callable[[int], None]], emit: Emit) -> None:
        """
        Args:
            others: who is told the wait status of a process that is neither template nor worker.
        """
        self._loop = loop
        self._pools = pools
        self._others = others
        self._emit = emit

    def reap(self) -> None:
        """Take every process that has exited (SIGCHLD); however many there are, others have their turn in between."""
        end = time.monotonic() + REAP_TIME
        while reap_next(self._before_reaping, self._after_reaping):
            if time.monotonic() > end:
                self._loop.call_later(0.0, self.reap)
                return

    def _before_reaping(self, pid: int) -> None:
        """End a template's process group: the zombie still holds its pid, so the group cannot be another's yet."""
        for pool in self._pools.all():
            template = pool.templates.find(pid)
            if template is not None and pool.is_stopping:
                template.kill_group()

    def _after_reaping(self, pid: int, status: int, usage: Usage) -> None:
        if self._tell_pool(pid, status, usage):
            return
        owner = self._others.pop(pid, None)
        if owner is not None:
            owner(status)
        else:
            self._emit(OrphanExited(str(parse_status(status)), pid=pid))

    def _tell_pool(self, pid: int, status: int, usage: Usage) -> bool:
        for pool in self._pools.all():
            template = pool.templates.find(pid)
            if template is not None:
                pool.templates.gone(template, parse_status(status), usage)
                return True
        for pool in self._pools.all():
            child = pool.workers.find(pid)
            if child is not None:
                pool.workers.exited(child, parse_status(status), usage)
                return True
        return False
