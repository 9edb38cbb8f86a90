"""Which pool needs somebody first: decided once for the page, `pyfpm status`, `top`, `explain` and the checks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from fpm.scoreboard.numbers import PoolNumbers
from fpm.status.overview import Pool
from fpm.status.past.recent import Window


class Trouble(IntEnum):
    """What is wrong with a pool, the worst first."""

    FAILED = 0
    """Its application does not start, or it cannot be reached."""
    SATURATED = 1
    """All workers that it may have are busy, and connections wait."""
    ERRORS = 2
    """Uncaught exceptions, responses of class 5xx or deaths in the last five minutes."""
    SLOW = 3
    """Slow requests in the last five minutes, or now."""
    NONE = 4
    """It serves, and nothing is wrong."""
    IDLE = 5
    """It has nothing to do, and nothing is wrong."""


BADGES = {
    Trouble.FAILED: "failed",
    Trouble.SATURATED: "saturated",
    Trouble.ERRORS: "errors",
    Trouble.SLOW: "slow",
}
"""The word for each trouble; a pool without one shows its state."""
LATELY = 300
"""Seconds: errors of before are history."""


def is_saturated(numbers: PoolNumbers) -> bool:
    """Return whether all workers that the pool may have are busy while connections wait."""
    return 0 < numbers.max_children <= numbers.active and not numbers.idle and numbers.listen_queue > 0


def lately(pool: Pool) -> Window | None:
    """Return what a pool has counted of late; None where nobody has."""
    return next((one for one in pool.recent.windows if one.seconds == LATELY), None) if pool.recent else None


def judge(pool: Pool) -> Trouble:
    """Return what is wrong with a pool."""
    if pool.error or pool.state == "failed":
        return Trouble.FAILED
    if is_saturated(pool.numbers):
        return Trouble.SATURATED
    window = lately(pool)
    if window is not None and (window.errors or window.failures or window.deaths):
        return Trouble.ERRORS
    if (window is not None and window.slow) or any(one.running for one in pool.slow):
        return Trouble.SLOW
    is_idle = not pool.numbers.active and not pool.numbers.listen_queue and not (window is not None and window.requests)
    return Trouble.IDLE if is_idle else Trouble.NONE


def urgent_first(pools: Sequence[Pool]) -> list[Pool]:
    """Order pools by their trouble, those with the same one as they come."""
    return sorted(pools, key=judge)
