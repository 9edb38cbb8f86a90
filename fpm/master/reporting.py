"""What the master tells about its pools: PHP-FPM's numbers from the scoreboard, and what only the master knows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fpm.master.pool import PoolSupervisor
from fpm.master.reloader import LastReload
from fpm.scoreboard.snapshot import Board
from fpm.scoreboard.snapshot import Header
from fpm.scoreboard.snapshot import read_board
from fpm.status.model import PoolStatus
from fpm.status.model import build_status
from fpm.status.pages import render_status

POOLS_NAMED = 20
"""Names in an error about an unknown pool."""


def status_answer(
    pools: Mapping[str, PoolSupervisor], file: str, last: LastReload | None, request: Mapping[str, Any]
) -> dict[str, Any]:
    """The answer to the control socket's `status`, with `pool` (one of them) and `query` (page wanted) if given."""
    name, query = request.get("pool"), request.get("query")
    if name is not None and (not isinstance(name, str) or name not in pools):
        known = ", ".join(list(pools)[:POOLS_NAMED])
        return {"ok": False, "error": f"there is no pool {name!r}; there are: {known}"}
    described = []
    for pool in pools.values() if name is None else [pools[name]]:
        facts = pool_facts(pool)
        if isinstance(query, str):
            page = render_status(pool_status(pool), query)
            facts["page"] = page.body.decode("utf-8", "replace")
            facts["content_type"] = page.content_type
        described.append(facts)
    reload = None if last is None else {"at": last.at, "ok": last.ok, "reason": last.reason}
    return {"ok": True, "pid": os.getpid(), "file": file, "last_reload": reload, "pools": described}


def pool_status(pool: PoolSupervisor) -> PoolStatus:
    """The status of one pool, whether it has processes or not."""
    shared = pool.board
    board = read_board(shared.view, shared.slots) if shared else Board(_header(pool), ())
    return build_status(
        pool=pool.config.name,
        pm=pool.config.pm,
        board=board,
        queue=pool.services.queues.read(pool.listener.socket.fileno()),
        now=pool.services.clock(),
    )


def pool_facts(pool: PoolSupervisor) -> dict[str, Any]:
    """State, generation and the reason of a failure."""
    facts: dict[str, Any] = {
        "name": pool.config.name,
        "listen": str(pool.config.listen),
        "state": pool.state,
        "generation": pool.templates.generation,
        "directory": pool.templates.pinned.chdir,
        "ping_path": pool.config.ping_path,
        "status_path": pool.config.pm_status_path,
    }
    if pool.templates.failure is not None:
        facts["error"] = pool.templates.failure.error
        facts["traceback"] = pool.templates.failure.traceback
        facts["failed_since"] = pool.templates.failure.since
    return facts


def _header(pool: PoolSupervisor) -> Header:
    values = pool.values
    return Header(
        generation=values.generation,
        max_children=values.max_children,
        start_time=values.start_time,
        requests=values.requests,
        max_children_reached=values.max_children_reached,
        slow_requests=values.slow_requests,
        max_active=values.max_active,
        max_listen_queue=values.max_listen_queue,
        memory_peak=values.memory_peak,
    )
