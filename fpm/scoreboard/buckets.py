"""The buckets in which durations are counted: ten a decade (the Renard series R10), from 100 microseconds to 100 s.

A factor of about 1.26 lies between two bounds, so a percentile is told within 12 %, and each bound that monitors are
used to (0.1, 0.25, 0.5, 1, 2.5, 5, 10 seconds) is one of them. Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from operator import add

from fpm.frozen import dataclass

_R10 = (100, 125, 160, 200, 250, 315, 400, 500, 630, 800)
BOUNDS = (*(step * 10**decade for decade in range(6) for step in _R10), 100_000_000)
"""Microseconds, inclusive, as Prometheus' `le`; what is longer than the last one is in a bucket of its own."""
BUCKETS = len(BOUNDS) + 1


def bucket_of(duration: int) -> int:
    """Return the bucket of a duration in microseconds."""
    return bisect_left(BOUNDS, duration)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations that have been counted."""

    total: int = 0
    """Microseconds: the sum of all."""
    counts: tuple[int, ...] = (0,) * BUCKETS

    @property
    def count(self) -> int:
        """Return how many there are."""
        return sum(self.counts)

    def __sub__(self, former: Histogram) -> Histogram:
        """Return what has been counted since `former`; of counters that have begun anew, what they have."""
        counts = tuple([new - old for new, old in zip(self.counts, former.counts, strict=True)])
        if self.total < former.total or min(counts) < 0:
            return self
        return Histogram(self.total - former.total, counts)

    def __add__(self, other: Histogram) -> Histogram:
        """Return both together."""
        return Histogram(self.total + other.total, tuple(map(add, self.counts, other.counts)))


def percentile(counts: Sequence[int], part: float, bounds: Sequence[int] = BOUNDS) -> float | None:
    """Return the duration in seconds that `part` (0 to 1) of the counted ones do not exceed; None if there are none.

    Within a bucket the counted ones are taken to be spread evenly. Of the last bucket, which has no end, the answer is
    its beginning.

    Args:
        bounds: microseconds, where each bucket ends but the last.
    """
    sums = list(accumulate(counts))
    if not sums or not sums[-1]:
        return None
    wanted = part * sums[-1]
    at = min(bisect_left(sums, max(wanted, 1e-9)), len(bounds))
    below = bounds[at - 1] if at else 0
    if at == len(bounds):
        return below / 1e6
    inside = (wanted - (sums[at] - counts[at])) / counts[at]
    return float(below + (bounds[at] - below) * min(max(inside, 0.0), 1.0)) / 1e6
