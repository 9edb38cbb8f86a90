"""The past of all pools, drawn from snapshots: what was counted of late, points of six hours, marks. Pure."""

from __future__ import annotations

from dataclasses import replace

from fpm.scoreboard.number import COUNT_MAX
from fpm.status.overview import Daemon, Pool
from fpm.status.past.sample import take_sample
from fpm.status.past.track import SHORTEST, SPACING, Track
from fpm.status.snapshot import Snapshot


class History:
    """Keeps the past of each pool; its memory has a bound for each of them."""

    def __init__(self) -> None:
        self.tracks: dict[str, Track] = {}
        self.has_news = False
        """Something was taken; whoever has saved it denies it."""

    def add(self, snapshot: Snapshot, *, is_last: bool = False) -> float:
        """Take a snapshot of all pools; pools that are gone are forgotten.

        Args:
            is_last: it may come soon after the one before.

        Returns:
            Seconds until another can add the news that this one has; 0.0: it has none, or they were taken.
        """
        early, spacing = 0.0, SHORTEST if is_last else SPACING
        for pool in snapshot.pools:
            track = self.tracks.setdefault(pool.name, Track())
            sample = take_sample(pool, snapshot.daemon)
            early = max(early, track.add(sample, spacing))
            self.has_news = self.has_news or track.base is sample
        for name in self.tracks.keys() - {pool.name for pool in snapshot.pools}:
            del self.tracks[name]
        return early

    def complete(self, pool: Pool, daemon: Daemon, *, brief: bool = False) -> Pool:
        """Return the pool with its past, as far as it is known.

        Args:
            brief: of its points the last hour, in minutes.
        """
        track = self.tracks.get(pool.name)
        if track is None:
            return with_wait(pool)
        recent = track.recent(take_sample(pool, daemon))
        moments = track.brief_moments() if brief else track.moments(daemon.now)
        known = replace(pool, rate=recent.rate, history=moments, recent=recent, marks=tuple(track.marks))
        return with_wait(known)


def with_wait(pool: Pool) -> Pool:
    """Return the pool with how long the last one in its queue will wait at the present rate, if that is known."""
    wait = None
    if pool.numbers.listen_queue == 0:
        wait = 0
    elif pool.rate:
        wait = int(min(1000 * pool.numbers.listen_queue / pool.rate, COUNT_MAX))
    return replace(pool, status=replace(pool.status, numbers=replace(pool.numbers, queue_wait=wait)))
