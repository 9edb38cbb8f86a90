"""When to try again: backoff for young deaths and for templates that do not start, and the emergency window. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

YOUNG = 10.0
"""Seconds: a worker that dies before this age has died young."""
WORKER_DELAY_MAX = 30.0
SERVING_DELAY_MAX = 1.0
"""A worker that has served something is replaced after at most this, however often it dies: clients are waiting."""
TEMPLATE_DELAY_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often in a row something has gone wrong, and until when (monotonic seconds) to wait."""

    failures: int = 0
    until: float = 0.0


def after_worker_death(backoff: Backoff, *, age: float, requests: int, now: float) -> Backoff:
    """The backoff after a worker has died unasked.

    The first young death is replaced at once; then the pause doubles from 0.1 s. A death at a riper age forgives all.

    Args:
        age: seconds the worker has lived.
        requests: how many requests it has taken.
    """
    if age >= YOUNG:
        return Backoff()
    failures = backoff.failures + 1
    longest = SERVING_DELAY_MAX if requests else WORKER_DELAY_MAX
    delay = 0.0 if failures == 1 else min(0.1 * 2 ** min(failures - 2, 20), longest)
    return Backoff(failures, now + delay)


def after_template_failure(backoff: Backoff, now: float) -> Backoff:
    """The backoff after a template has failed to start: 1, 2, 4 ... 60 s."""
    failures = backoff.failures + 1
    return Backoff(failures, now + min(2.0 ** min(failures - 1, 20), TEMPLATE_DELAY_MAX))


@dataclass(frozen=True, slots=True)
class EmergencyWindow:
    """The times (monotonic seconds) of the last deaths by SIGSEGV or SIGBUS, newest last."""

    times: tuple[float, ...] = ()

    def add(self, now: float, threshold: int) -> EmergencyWindow:
        """One more such death; only the last `threshold` are kept."""
        return replace(self, times=(*self.times, now)[-threshold:] if threshold > 0 else ())

    def is_reached(self, now: float, threshold: int, interval: float) -> bool:
        """`threshold` deaths within `interval` seconds (emergency_restart_threshold and _interval; 0: off)."""
        if threshold <= 0 or interval <= 0:
            return False
        return len(self.times) >= threshold and now - self.times[0] <= interval
