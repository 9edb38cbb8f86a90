"""Takes snapshots of the daemon for the status process, `pyfpm status` and `pyfpm top`.

The master copies and describes, it does not evaluate: that is fpm.status.snapshot's business, in whoever asked.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from fpm import __version__
from fpm.config.model import Config
from fpm.master.lifecycle import State
from fpm.master.pool.slow_requests import short_stack
from fpm.master.pool.supervisor import PoolSupervisor
from fpm.master.pools import Pools
from fpm.master.reload.reloader import Reloader
from fpm.master.services import Services
from fpm.master.shutdown import Shutdown
from fpm.master.status.limits import effective_limits
from fpm.scoreboard.reading import join_board, pack_header
from fpm.status.overview import Daemon, SlowRequest
from fpm.status.snapshot import PoolFacts, WorkerFacts, pack_snapshot

ROUTES_MAX = 4 << 20
"""Bytes of a pool's tables of routes in a snapshot; with 1,000 workers those of the first slots, which work the most,
are there, with 13,000 entries."""
VERSION_MAX = 40
"""Characters of what a template says of its Python."""


class SnapshotSource(Protocol):
    """What a snapshot is taken of: the master."""

    config: Config
    services: Services
    shutdown: Shutdown
    pools: Pools
    reloader: Reloader
    started: float
    """Epoch seconds, as is the next."""
    executed: float


def take_snapshot(
    host: SnapshotSource, name: str | None = None, *, workers: bool = False, routes: bool = False
) -> bytes:
    """Take the snapshot of one pool, or of all; no pools if there is none of this name.

    Args:
        workers: each worker, and what is remembered of deaths and slow requests.
        routes: what is counted for each route; only of one pool, for it is much.
    """
    chosen: Mapping[str, PoolSupervisor] = host.pools
    if name is not None:
        chosen = {name: host.pools[name]} if name in host.pools else {}
    log, with_routes = host.config.global_.error_log, routes and name is not None
    return pack_snapshot(
        describe_daemon(host),
        [describe_pool(pool, log, workers=workers, routes=with_routes) for pool in chosen.values()],
    )


def refresh_memory(host: SnapshotSource) -> None:
    """Bring the memory of some workers and groups up to date for the next snapshot, within a bound of its own."""
    processes = [one for pool in host.pools.values() for one in pool.memory.measurable()]
    host.services.memory.sample(processes, host.services.loop.now)
    host.services.cgroups.sample(host.services.loop.now)


def describe_daemon(host: SnapshotSource) -> Daemon:
    """Describe the master itself."""
    last = host.reloader.last
    return Daemon(
        version=__version__,
        host=socket.gethostname(),
        pid=os.getpid(),
        file=host.config.global_.file,
        started=host.started,
        now=host.services.clock(),
        draining=host.shutdown.state is not State.NORMAL,
        last_reload=last,
        executed=host.executed,
    )


def describe_pool(
    pool: PoolSupervisor, error_log: str | None, *, workers: bool, routes: bool
) -> tuple[PoolFacts, bytes]:
    """Describe one pool, whether it has processes or not, with a copy of what its scoreboards hold."""
    config, failure = pool.config, pool.failures.failure
    lost = "" if failure else pool.listener.lost
    saturation = pool.scaler.turns.saturation
    queue = None
    if not pool.is_stopping:
        queue = pool.services.queues.read_with_parked(saturation.listen_fd, saturation.parked_fd)
    if queue is not None and queue.length > pool.record.values.max_listen_queue:
        pool.record.values.max_listen_queue = queue.length
        pool.header.write()
    pool.record.values.unavailable = pool.resources.count_unavailable()
    copied = _copy_slots(pool)
    facts = PoolFacts(
        name=config.name,
        pm=config.pm,
        listen=str(config.listen),
        app=config.app,
        directory=pool.current.resolved.chdir or "",
        state=pool.state.word,
        ready=failure is None and not lost and pool.state.is_settled and not pool.is_stopping,
        queue=(queue.length, queue.maximum) if queue else (0, 0),
        slots=len(copied),
        room=sum(board.slots for board in pool.header.boards()),
        error=failure.error if failure else lost,
        traceback=failure.traceback if failure else "",
        pss=_total_pss(pool),
        cgroup=pool.services.cgroups.figures_of(config.name),
        workers=_workers(pool) if workers else (),
        deaths=list(pool.record.deaths) if workers else (),
        slow=_slow_requests(pool, stacks=workers),
        exceptions=pool.record.exceptions.newest_first if workers else (),
        statistics=pool.resources.count_all(),
        routes=pool.resources.copy_routes(ROUTES_MAX) if routes and config.request_statistics else b"",
        **(_whereabouts(pool, error_log) if workers else {}),
    )
    # The header in the shared memory is for the workers, who can scribble in it; the master says what it knows itself.
    return facts, join_board(pack_header(pool.record.values), copied)


def _slow_requests(pool: PoolSupervisor, *, stacks: bool) -> Sequence[SlowRequest]:
    """List those that are over; where nobody wants their stacks, only if the metrics name them."""
    if stacks:
        return list(pool.record.slow)
    is_wanted = pool.services.settings.status_listen_exemplars
    return [replace(one, stack=()) for one in pool.record.slow] if is_wanted else ()


def _copy_slots(pool: PoolSupervisor) -> list[tuple[int, bytes]]:
    """Copy the slots of the workers that there are, and no other that a process of the pool may have filled."""
    order = {board: number for number, board in enumerate(pool.header.boards())}
    children = sorted(pool.workers.children, key=lambda child: (order.get(child.board, 0), child.slot.number))
    return [copied for copied in (child.slot.copy() for child in children) if copied[0]]


def _whereabouts(pool: PoolSupervisor, error_log: str | None) -> dict[str, Any]:
    """Describe whose processes they are, which interpreter and limits they have, and where the logs go."""
    config, template = pool.config, pool.templates.present
    version = template.python[:VERSION_MAX] if template is not None else ""
    logs = {"error": error_log or "standard error", "access": config.access_log, "slow": config.slowlog}
    return {
        "user": config.identity.user if config.identity else "",
        "python": f"{config.python} ({version})" if version else config.python,
        "logs": [(kind, path) for kind, path in logs.items() if path],
        "limits": effective_limits(config),
    }


def _total_pss(pool: PoolSupervisor) -> int | None:
    total = 0
    for child in pool.workers.children:
        if child.notes.memory.pss is None:
            return None
        total += child.notes.memory.pss
    return total


def _workers(pool: PoolSupervisor) -> list[WorkerFacts]:
    return [
        WorkerFacts(
            child.process.name,
            child.template.generation,
            child.retire_reason,
            child.notes.memory.pss,
            child.notes.stack_request,
            short_stack(child, child.notes.stack_request),
        )
        for child in pool.workers.children
    ]
