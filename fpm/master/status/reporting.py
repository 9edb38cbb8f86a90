"""What the master tells about its pools: PHP-FPM's numbers from the scoreboard, and what only the master knows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fpm.master.pool.supervisor import PoolSupervisor
from fpm.master.reload.reloader import LastReload
from fpm.master.status.snapshot_source import describe_pool
from fpm.status.deaths import join_deaths
from fpm.status.overview import Pool
from fpm.status.pages import render_status
from fpm.status.snapshot import assemble_pool

JSON = "application/json"
POOLS_NAMED = 20
"""Names in an error about an unknown pool."""


def status_answer(
    pools: Mapping[str, PoolSupervisor], file: str, last: LastReload | None, request: Mapping[str, Any]
) -> dict[str, Any]:
    """The answer to the control socket's `status`, with `pool` (one of them) and `query` (page wanted) if given."""
    name, query = request.get("pool"), request.get("query")
    if name is not None and (not isinstance(name, str) or name not in pools):
        return unknown_pool(name, pools)
    described = []
    for pool in pools.values() if name is None else [pools[name]]:
        facts = pool_facts(pool)
        if isinstance(query, str):
            shown = assemble(pool)
            page = render_status(shown.status, query, shown.extras)
            if page.content_type == JSON:
                page = join_deaths(page, pool.record.deaths)
            elif "full" in query.split("&"):
                facts["deaths"] = [asdict(death) for death in pool.record.deaths]
            facts["page"] = page.body.decode("utf-8", "replace")
            facts["content_type"] = page.content_type
        described.append(facts)
    reload = None if last is None else {"at": last.at, "ok": last.ok, "reason": last.reason}
    return {"ok": True, "pid": os.getpid(), "file": file, "last_reload": reload, "pools": described}


def unknown_pool(name: object, pools: Mapping[str, PoolSupervisor]) -> dict[str, Any]:
    """The refusal of a question about a pool that there is not."""
    return {"ok": False, "error": f"there is no pool {name!r}; there are: {', '.join(list(pools)[:POOLS_NAMED])}"}


def assemble(pool: PoolSupervisor) -> Pool:
    """The status of one pool, whether it has processes or not."""
    facts, board = describe_pool(pool, workers=False)
    return assemble_pool(facts, memoryview(board), pool.services.clock())


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
