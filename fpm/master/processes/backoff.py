"""Decides when to try again, after early exits of workers and failed templates, and when to restart a pool. Pure."""

from __future__ import annotations

from dataclasses import replace

from fpm.frozen import dataclass

YOUNG = 10.0
"""Seconds: an exit before this age is early."""
WORKER_DELAY_MAX = 30.0
SERVING_DELAY_MAX = 1.0
"""Seconds after which a worker that has served requests is replaced at the latest: clients are waiting."""
TEMPLATE_DELAY_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Number of failures in a row, and the time (monotonic seconds) of the next attempt."""

    failures: int = 0
    until: float = 0.0


def after_worker_death(backoff: Backoff, *, age: float, requests: int, now: float) -> Backoff:
    """Update the backoff after an unexpected exit of a worker.

    The first early exit is replaced at once; then the pause doubles from 0.1 s. A later exit resets it.

    Args:
        age: seconds that the worker has lived.
        requests: number of requests it has accepted.
    """
    if age >= YOUNG:
        return Backoff()
    failures = backoff.failures + 1
    longest = SERVING_DELAY_MAX if requests else WORKER_DELAY_MAX
    delay = 0.0 if failures == 1 else min(0.1 * 2 ** min(failures - 2, 20), longest)
    return Backoff(failures, now + delay)


def after_template_failure(backoff: Backoff, now: float) -> Backoff:
    """Update the backoff after a template has failed to start: 1, 2, 4 ... 60 s."""
    failures = backoff.failures + 1
    return Backoff(failures, now + min(2.0 ** min(failures - 1, 20), TEMPLATE_DELAY_MAX))


@dataclass(frozen=True, slots=True)
class EmergencyWindow:
    """Times (monotonic seconds) of the last exits by SIGSEGV or SIGBUS, newest last."""

    times: tuple[float, ...] = ()

    def add(self, now: float, threshold: int) -> EmergencyWindow:
        """Add such an exit and keep only the last `threshold`."""
        return replace(self, times=(*self.times, now)[-threshold:] if threshold > 0 else ())

    def is_reached(self, now: float, threshold: int, interval: float) -> bool:
        """Tell whether `threshold` exits fall within `interval` seconds (emergency_restart_*; 0: off)."""
        if threshold <= 0 or interval <= 0:
            return False
        return len(self.times) >= threshold and now - self.times[0] <= interval
