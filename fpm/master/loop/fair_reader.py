"""Watches a descriptor that a pool's process writes to, as long as the pool's budget lasts."""

from __future__ import annotations

import time
from collections.abc import Callable

from fpm.master.loop.loop import Loop, Timer
from fpm.master.loop.read_budget import ReadBudget

WAKEUP = 0.00003
"""Seconds that a turn of the loop costs besides the callback."""


class FairReader:
    """One watched descriptor. The callback reads a limited amount, and its time is charged to the budget."""

    def __init__(self, loop: Loop, share: ReadBudget, fd: int, callback: Callable[[], object], *, timed: bool) -> None:
        """Start watching.

        Args:
            timed: charge the callback's whole time; if false the callback charges its own.
        """
        self._loop = loop
        self._share = share
        self._fd = fd
        self._callback = callback
        self._timed = timed
        self._timer: Timer | None = None
        self._closed = False
        self._resume()

    def close(self) -> None:
        """Stop watching; call this before the descriptor is closed."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._loop.forget(self._fd)

    def _resume(self) -> None:
        self._timer = None
        self._loop.watch(self._fd, self._on_ready)

    def _on_ready(self) -> None:
        begin = time.monotonic()
        self._callback()
        now = time.monotonic()
        self._share.spend(WAKEUP + (now - begin if self._timed else 0.0), now)
        pause = self._share.pause(now)
        if pause > 0 and not self._closed:
            self._loop.forget(self._fd)
            self._timer = self._loop.call_later(pause, self._resume)
