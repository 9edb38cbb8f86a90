"""Waiting for something to become true, or for something not to happen. The only place in the tests that sleeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
INTERVAL = 0.01
INTERVAL_MAX = 0.05
"""Seconds. To look takes CPU time, of a daemon too, which whoever is waited for then lacks."""


def wait_until(
    condition: Callable[[], T],
    *,
    timeout: float = 60.0,
    message: str | Callable[[], str] = "the condition never held",
    every: float = INTERVAL,
) -> T:
    """Call `condition` until it returns something true, and return that.

    It is called every 10 ms at first, or `every` so many seconds, and every 50 ms after half a second.

    Args:
        message: what is wrong if it never does; a function, where that is to be seen at the end of the wait.

    Raises:
        AssertionError: `timeout` seconds have passed.
    """
    begin = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - begin
        if waited >= timeout:
            said = message if isinstance(message, str) else message()
            raise AssertionError(f"{said} (waited {timeout} s, last value: {value!r})")
        time.sleep(max(every, min(INTERVAL_MAX, waited / 10)))  # noqa: TID251  the one sleep


def hold_for(condition: Callable[[], object], seconds: float, *, message: str = "the condition has ended") -> None:
    """Assert that `condition` is true all the time for so many seconds: for what must not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), message
        time.sleep(INTERVAL)  # noqa: TID251  see wait_until


def does_not_block(action: Callable[[], object], *, timeout: float = 60.0) -> None:
    """Assert that `action`, which could wait for ever, returns."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(timeout)
    assert not thread.is_alive(), f"it has not returned within {timeout} s"


def side_by_side(*checks: Callable[[], object]) -> None:
    """Make checks that mostly wait at the same time, each in a thread of its own.

    Raises:
        ExceptionGroup: what those have raised that failed; all have ended.
    """
    with ThreadPoolExecutor(len(checks)) as threads:
        made = [threads.submit(check) for check in checks]
    raised = [error for one in made if (error := one.exception()) is not None]
    errors = [error for error in raised if isinstance(error, Exception)]
    if errors:
        raise ExceptionGroup("some of the checks have failed", errors)
    if raised:  # pytest.skip()
        raise raised[0]
