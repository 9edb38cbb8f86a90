"""The master's event loop: epoll(7) and timers. It sleeps until something happens, without a timer indefinitely.

An exception in a callback is a defect of pyfpm; it is reported and the loop continues, because the master must not exit
because of it.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
EVENTS_PER_TURN = 256


@dataclass(order=True, slots=True)
class Timer:
    """A callback at a time (monotonic seconds)."""

    when: float
    number: int
    callback: Callable[[], None] | None = field(compare=False)

    def cancel(self) -> None:
        """Cancel the call."""
        self.callback = None


class Loop:
    """One epoll instance and a heap of timers."""

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        """Create the loop; `report` is called with every exception that a callback raises."""
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._timers: list[Timer] = []
        self._numbers = itertools.count()
        self._report = report
        self.now = time.monotonic()
        """Monotonic seconds, read once for each turn."""
        self.wakeups = 0
        """How often the loop has woken up; for tests and for the status."""

    def watch(self, fd: int, callback: Callable[[], None], events: int = READ) -> None:
        """Call back whenever fd is ready (level-triggered), until `forget`."""
        if fd in self._callbacks:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def forget(self, fd: int) -> None:
        """Stop watching fd, if it is watched; call this before the descriptor is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def is_watched(self, fd: int) -> bool:
        return fd in self._callbacks

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back once, `seconds` from now."""
        timer = Timer(time.monotonic() + seconds, next(self._numbers), callback)
        heapq.heappush(self._timers, timer)
        return timer

    def run_once(self) -> None:
        """Sleep until something is ready, then make all due calls."""
        events = self._epoll.poll(self._timeout(), EVENTS_PER_TURN)
        self.wakeups += 1
        self.now = time.monotonic()
        for fd, _ in events:
            # An earlier callback of this turn may have closed the descriptor.
            callback = self._callbacks.get(fd)
            if callback is not None:
                self._call(callback)
        while self._timers and self._timers[0].when <= self.now:
            due = heapq.heappop(self._timers).callback
            if due is not None:
                self._call(due)

    def close(self) -> None:
        self._epoll.close()

    def _timeout(self) -> float | None:
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        # epoll counts whole milliseconds and Python rounds up, so a timer is never called too early.
        return max(0.0, self._timers[0].when - time.monotonic())

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:
            self._report(error)


class NamedTimers:
    """The timers of one object, which can be cancelled together."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._timers: dict[str, Timer] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._timers

    def set(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        """Call back once in `seconds`."""
        self.cancel(name)

        def run() -> None:
            self._timers.pop(name, None)
            callback()

        self._timers[name] = self._loop.call_later(max(seconds, 0.0), run)

    def cancel(self, name: str) -> None:
        """Cancel a timer, if it is set."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def cancel_all(self) -> None:
        for name in list(self._timers):
            self.cancel(name)
