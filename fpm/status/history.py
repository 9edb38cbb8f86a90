"""A small history of each pool, drawn from the snapshots that have been asked for."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from fpm.status.overview import Moment, Pool
from fpm.status.snapshot import Snapshot

POINTS = 180
"""Points that are kept of each pool."""
SPACING = 0.9
"""Seconds between two points at least: somebody who asks all the time makes no finer history."""
RATE_OVER = 10.0
"""Seconds over which the present rate is computed, if there are points for so long."""
GAP = 300.0
"""Seconds without a point after which the former ones tell nothing about now."""


class History:
    """Keeps points of each pool, the oldest first, with the number of requests that it had taken."""

    def __init__(self) -> None:
        self._points: dict[str, deque[tuple[int, Moment]]] = {}

    def add(self, snapshot: Snapshot) -> None:
        """Add a snapshot of all pools; pools that are gone are forgotten."""
        for pool in snapshot.pools:
            self._add(pool, snapshot.daemon.now)
        for name in self._points.keys() - {pool.name for pool in snapshot.pools}:
            del self._points[name]

    def complete(self, pool: Pool, now: float) -> Pool:
        """Return the pool with its history, rate and queue wait, as far as they are known."""
        points = [one for one in self._points.get(pool.name, ()) if now - one[1].at < GAP]
        rate = self._rate(pool, now, points)
        wait = None
        if pool.numbers.listen_queue == 0:
            wait = 0
        elif rate:
            wait = int(1000 * pool.numbers.listen_queue / rate)
        status = replace(pool.status, numbers=replace(pool.numbers, queue_wait=wait))
        return replace(pool, status=status, rate=rate, history=tuple(moment for _, moment in points))

    def _add(self, pool: Pool, now: float) -> None:
        points = self._points.setdefault(pool.name, deque(maxlen=POINTS))
        requests, rate = pool.numbers.requests, 0.0
        if points:
            former, last = points[-1]
            passed = now - last.at
            if 0 <= passed < SPACING:
                return
            if not 0 <= passed < GAP or requests < former:
                points.clear()
            else:
                rate = (requests - former) / passed
        numbers = pool.numbers
        moment = Moment(now, numbers.idle, numbers.active, numbers.listen_queue, rate)
        points.append((requests, moment))

    @staticmethod
    def _rate(pool: Pool, now: float, points: list[tuple[int, Moment]]) -> float | None:
        """Compute requests a second since the oldest point within RATE_OVER, or since the last point before it."""
        if not points:
            return None
        recent = [one for one in points if now - one[1].at <= RATE_OVER]
        requests, moment = recent[0] if recent else points[-1]
        passed = now - moment.at
        if passed < SPACING or pool.numbers.requests < requests:
            return moment.rate if passed < SPACING and len(points) > 1 else None
        return (pool.numbers.requests - requests) / passed
