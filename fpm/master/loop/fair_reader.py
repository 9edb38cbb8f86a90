"""Reads what a pool's processes write, as long as its share of the master's time lasts; then one after another."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from fpm.master.loop.loop import Loop, Timer
from fpm.master.loop.read_budget import ReadBudget

WAKEUP = 0.00003
"""Seconds that a turn of the loop costs besides the callback."""


class Share:
    """One pool's share, and its descriptors that are ready and wait: each in its turn, messages before output."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.budget = ReadBudget()
        self._waiting: tuple[deque[FairReader], deque[FairReader]] = (deque(), deque())
        self._timer: Timer | None = None

    def may_read(self) -> bool:
        """Tell whether something may be read now, beyond what is ready and has its turn."""
        return self.budget.may_read(time.monotonic(), self.loop.wakeups)

    def spend(self, seconds: float) -> None:
        """Charge time spent on this pool."""
        self.budget.spend(seconds, time.monotonic(), self.loop.wakeups)

    def is_free(self) -> bool:
        """Tell whether a descriptor that is ready may be read before others."""
        return self._timer is None and self.may_read()

    def wait(self, reader: FairReader) -> None:
        """Have a reader read when it is its turn."""
        self._waiting[reader.is_output].append(reader)
        self._wait_for_turn()

    def leave(self, reader: FairReader) -> None:
        """Let it wait no longer."""
        self._waiting[reader.is_output].remove(reader)

    def _wait_for_turn(self) -> None:
        """Set the one timer, unless it is set: with two of them each turn would set more, and a turn would have no end.

        Who has just had his turn may wait again, and have set it.
        """
        if self._timer is None:
            self._timer = self.loop.call_later(self.budget.pause(time.monotonic()), self._serve)

    def _serve(self) -> None:
        self._timer = None
        queue = next(filter(None, self._waiting), None)
        if queue is None:
            return
        queue.popleft().take_turn()
        if any(self._waiting):
            self._wait_for_turn()


class FairReader:
    """One watched descriptor. The callback reads a limited amount, and its time is charged to the share."""

    def __init__(
        self, share: Share, fd: int, callback: Callable[[], object], has_more: Callable[[], bool] | None = None
    ) -> None:
        """Start watching.

        Args:
            has_more: given for lines of output, which wait until messages have been read: tells whether the callback
                needs another turn, though nothing may be there to be read. What is no output charges its own time.
        """
        self._share = share
        self._fd = fd
        self._callback = callback
        self._has_more = has_more
        self._waits = False
        share.loop.watch(fd, self._on_ready)

    @property
    def is_output(self) -> bool:
        """Can it wait until messages have been read?"""
        return self._has_more is not None

    def close(self) -> None:
        """Stop watching; call this before the descriptor is closed."""
        if self._waits:
            self._waits = False
            self._share.leave(self)
        self._share.loop.forget(self._fd)

    def wait_for_turn(self) -> None:
        """Read when it is its turn, whether or not there is something."""
        if not self._waits:
            self._waits = True
            self._share.loop.forget(self._fd)
            self._share.wait(self)

    def take_turn(self) -> None:
        """Read, after having waited."""
        self._waits = False
        self._share.loop.watch(self._fd, self._on_ready)
        self._read()

    def _on_ready(self) -> None:
        if self._share.is_free():
            self._read()
        else:
            self.wait_for_turn()

    def _read(self) -> None:
        begin = time.thread_time()  # while others have the processor, it is not this pool's doing
        self._callback()
        self._share.spend(WAKEUP + (time.thread_time() - begin if self.is_output else 0.0))
        if self._has_more is not None and self._has_more():
            self.wait_for_turn()
