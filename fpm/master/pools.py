"""The pools of a master, and the end of every process that is theirs."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace

from fpm.config.model import Config
from fpm.events.master import OrphanExited
from fpm.master.pool.supervisor import PoolSupervisor
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.worker_state import WorkerEvent
from fpm.master.processes.exits import Usage, parse_status
from fpm.master.processes.leftovers import Known, Leftovers
from fpm.master.processes.process import reap_next
from fpm.master.services import Services

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
        self._awaited: PoolSupervisor | None = None
        """One that was not settled when all were last looked at."""

    def in_force(self, files: Config) -> Config:
        """Return the configuration by which the pools run; after a rollback it is not what the files say."""
        return replace(files, pools=tuple(pool.config for pool in self.values()))

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

    @property
    def are_settled(self) -> bool:
        """Does each one serve, or has it failed? Every pool that settles asks, so not all are looked at each time."""
        one = self._awaited
        if one is not None and self.get(one.config.name) is one and not one.state.is_settled:
            return False
        # They settle in their order, mostly.
        self._awaited = next((pool for pool in reversed(self.values()) if not pool.state.is_settled), None)
        return self._awaited is None

    def list_pids(self) -> tuple[int, ...]:
        """List the processes that have not ended, as far as they are known."""
        workers = [child.process.name for pool in self.all() for child in pool.workers.children]
        return tuple(filter(None, [*(one.pid for pool in self.all() for one in pool.templates.all()), *workers]))

    def known(self) -> Known:
        """List the processes of pools, and the sessions of templates that run or still have workers."""
        templates = [template for pool in self.all() for template in pool.templates.all()]
        children = [child for pool in self.all() for child in pool.workers.children]
        sessions = {template.pid for template in templates} | {child.template.pid for child in children}
        return Known({*sessions, *(child.process.name for child in children)}, sessions)

    def close(self) -> None:
        """Kill what is left, and give everything back."""
        for pool in self.all():
            pool.templates.kill_all()
            pool.close()


class Reaper:
    """Waits for processes that have exited, and tells their owners."""

    def __init__(self, pools: Pools, services: Services, strangers: Collection[int]) -> None:
        """
        Args:
            strangers: children of this process that are no business of the master's.
        """
        self._loop = services.loop
        self._pools = pools
        self._others = services.reapers
        self._emit = services.emit
        self._strangers = strangers
        self.leftovers = Leftovers(services, self._known)

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
            if template is not None:
                template.hear_of_itself()
            if template is not None and template.pid == pid and pool.is_stopping:
                template.kill_group()

    def _after_reaping(self, pid: int, status: int, usage: Usage) -> None:
        if self._tell_pool(pid, status, usage):
            return
        owner = self._others.pop(pid, None)
        if owner is not None:
            owner(status)
        else:
            self._emit(OrphanExited(str(parse_status(status)), pid=pid))

    def _known(self) -> Known:
        known = self._pools.known()
        return replace(known, pids={*known.pids, *self._others, *self._strangers})

    def _sweep(self, pool: PoolSupervisor, template: TemplateProcess, *, removed: bool) -> None:
        """End what a template and its workers have left, unless its generation goes on with another template.

        When the master stops, it ends everything that is left of all pools at last.
        """
        is_former = template.generation != pool.current.generation and not pool.is_stopping
        has_workers = any(child.template is template for child in pool.workers.children)
        if (is_former or removed) and template.state.is_gone and not has_workers:
            self.leftovers.sweep(template.owner.ids)

    def _tell_pool(self, pid: int, status: int, usage: Usage) -> bool:
        for pool in self._pools.all():
            template = pool.templates.find(pid)
            if template is not None:
                removed = pool in self._pools.draining
                pool.templates.gone(template, parse_status(status), usage)
                self._sweep(pool, template, removed=removed)
                return True
        for pool in self._pools.all():
            child = pool.workers.find(pid)
            if child is not None:
                removed = pool in self._pools.draining
                pool.workers.exited(child, parse_status(status), usage)
                self._sweep(pool, child.template, removed=removed)
                return True
        return False
