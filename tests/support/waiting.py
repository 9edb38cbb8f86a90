"""Waiting for something to become true. The only place in the tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
INTERVAL = 0.01


def wait_until(
    condition: Callable[[], T],
    *,
    timeout: float = 5.0,
    message: str = "the condition never held",
    every: float = INTERVAL,
) -> T:
    """Call `condition` every 10 ms (or `every` so many seconds) until it returns something true, and return that.

    Raises:
        AssertionError: `timeout` seconds have passed.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"{message} (waited {timeout} s, last value: {value!r})")
        time.sleep(every)  # noqa: TID251  the one sleep
