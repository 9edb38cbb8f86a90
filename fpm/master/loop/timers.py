"""Timers with names; setting one again replaces it."""

from __future__ import annotations

from collections.abc import Callable

from fpm.master.loop.loop import Loop, Timer


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
