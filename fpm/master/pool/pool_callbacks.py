"""Whom a pool tells what has become of it. Pure."""

from __future__ import annotations

from collections.abc import Callable

from fpm.frozen import dataclass


@dataclass(frozen=True, slots=True)
class PoolCallbacks:
    """Whom a pool tells."""

    on_settled: Callable[[], None]
    """It serves for the first time, or has failed for the first time."""
    on_empty: Callable[[], None]
    """It is stopping and its last process has gone."""
    on_change: Callable[[str], None]
    """A worker of the pool with this name serves, or a process has gone: a reload may have come further."""
