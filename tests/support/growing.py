"""Pools whose workers grow as they are told (tests/apps/growing.py)."""

from __future__ import annotations

from typing import Any

from tests.support.fpm import Daemon, Start

POOL: dict[str, Any] = {"app": "growing:application", "pm": "static", "pm.max_children": 1, "slowlog": "slow.log"}


def start_growing(daemon: Start, settings: dict[str, Any], **global_: str) -> Daemon:
    """A daemon with one such pool, `www`."""
    return start_growing_pools(daemon, {"www": settings}, **global_)


def start_growing_pools(daemon: Start, pools: dict[str, dict[str, Any]], **global_: str) -> Daemon:
    """A daemon with such pools, of which each sets something else."""
    fpm = daemon({name: {**POOL, **settings} for name, settings in pools.items()}, global_=global_)
    fpm.expect_log("seems to be less than the application needs")
    return fpm


def grow(fpm: Daemon, path: str = "/", size: str = "", *, pool: str = "www") -> int:
    """Have a worker grow by so many MiB; the pid of the one that answers."""
    return int(fpm.get(pool, path, query=size).body)
