"""Measures how much memory workers really use (PSS), only while somebody asks, and never for much of the time.

The kernel walks the page tables of a process for it (proc(5), smaps_rollup), which takes a millisecond or so for each
hundred megabytes; so each question about the status allows a little of that, the longest unseen workers first.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import psutil

from fpm.master.pool.child import Child
from fpm.master.pool.supervisor import PoolSupervisor

SHARE = 0.01
"""Of the master's time since the last question."""
BUDGET_MAX = 0.02
"""Seconds at one question."""
FRESH = 5.0
"""Seconds for which a number is not measured again."""


class MemorySampler:
    """Keeps `WorkerNotes.pss` up to date."""

    def __init__(self) -> None:
        self._last = 0.0

    def sample(self, pools: Iterable[PoolSupervisor], now: float) -> None:
        """Measure some workers; `now` is monotonic seconds."""
        budget, self._last = min(SHARE * (now - self._last), BUDGET_MAX), now
        if budget <= 0:
            return
        stale = [
            child
            for pool in pools
            for child in pool.workers.children
            if child.pid and (child.notes.pss is None or now - child.notes.pss_at > FRESH)
        ]
        stale.sort(key=_seen_at)
        begin = time.thread_time()
        for child in stale:
            child.notes.pss, child.notes.pss_at = _read_pss(child.pid), now
            if time.thread_time() - begin > budget:
                return


def _seen_at(child: Child) -> float:
    return child.notes.pss_at


def _read_pss(pid: int) -> int | None:
    """Return its memory in bytes; None if the process is gone, or the master is not its owner."""
    try:
        pss: int = psutil.Process(pid).memory_full_info().pss
    except (psutil.Error, OSError):
        return None
    return pss
