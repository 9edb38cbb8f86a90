"""Finds out that a helper process hangs or is stopped (SIGSTOP), though it has nothing to say of its own accord."""

from __future__ import annotations

from collections.abc import Callable

from fpm.master.loop.loop import Loop, Timer

EVERY = 10.0
"""Seconds between two questions: an idle daemon wakes up no more often for it."""
MISSED_MAX = 2
"""Questions without an answer; one may be unanswered because the master itself was stopped meanwhile."""


class Heartbeat:
    """Asks a process regularly whether it lives."""

    def __init__(self, loop: Loop, ask: Callable[[], object], dead: Callable[[], object]) -> None:
        """
        Args:
            ask: sends a question.
            dead: called when the process has not answered for some time.
        """
        self._loop = loop
        self._ask = ask
        self._dead = dead
        self._missed = 0
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin with a new process."""
        self.stop()
        self._timer = self._loop.call_later(EVERY, self._beat)

    def answered(self) -> None:
        """It lives."""
        self._missed = 0

    def stop(self) -> None:
        """There is no process any more."""
        self._missed = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        if self._missed >= MISSED_MAX:
            self._timer = None
            self._dead()
            return
        self._missed += 1
        self._ask()
        self._timer = self._loop.call_later(EVERY, self._beat)
