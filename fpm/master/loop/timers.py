"""Timers with names: at most one of each, a later one replaces an earlier one."""

from __future__ import annotations

from collections.abc import Callable

from fpm.master.loop.loop import Loop, Timer


class NamedTimers:
    """The timers of one object; all of them can be cancelled together."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._timers: dict[str, Timer] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._timers

    def set(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        """Call back in `seconds`, once."""
        self.cancel(name)

        def run() -> None:
            self._timers.pop(name, None)
            callback()

        self._timers[name] = self._loop.call_later(max(seconds, 0.0), run)

    def cancel(self, name: str) -> None:
        """Forget it; nothing happens if it is not set."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def cancel_all(self) -> None:
        """Forget all."""
        for name in list(self._timers):
            self.cancel(name)
