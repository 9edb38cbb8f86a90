"""What the master itself answers about its pools; numbers are in the snapshot, for whoever shows them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fpm.master.pool.supervisor import PoolSupervisor
from fpm.status.overview import LastReload

POOLS_NAMED = 20
"""Names in an error about an unknown pool."""


def status_answer(
    pools: Mapping[str, PoolSupervisor], file: str, last: LastReload | None, request: Mapping[str, Any]
) -> dict[str, Any]:
    """Answer the control socket's `status`; `pool` asks for one of them."""
    name = request.get("pool")
    if name is not None and (not isinstance(name, str) or name not in pools):
        return unknown_pool(name, pools)
    described = [pool_facts(pool) for pool in (pools.values() if name is None else [pools[name]])]
    reload = None if last is None else asdict(last)
    return {"ok": True, "pid": os.getpid(), "file": file, "last_reload": reload, "pools": described}


def unknown_pool(name: object, pools: Mapping[str, PoolSupervisor]) -> dict[str, Any]:
    """The refusal of a question about a pool that there is not."""
    return {"ok": False, "error": f"there is no pool {name!r}; there are: {', '.join(list(pools)[:POOLS_NAMED])}"}


def pool_facts(pool: PoolSupervisor) -> dict[str, Any]:
    """State, generation and the reason of a failure."""
    facts: dict[str, Any] = {
        "name": pool.config.name,
        "listen": str(pool.config.listen),
        "state": pool.state.word,
        "generation": pool.current.generation,
        "directory": pool.current.resolved.chdir,
        "ping_path": pool.config.ping_path,
        "status_path": pool.config.pm_status_path,
    }
    if pool.listener.is_lost:
        facts["error"] = pool.listener.lost
    if pool.failures.failure is not None:
        facts["error"] = pool.failures.failure.error
        facts["traceback"] = pool.failures.failure.traceback
        facts["failed_since"] = pool.failures.failure.since
    return facts
