"""Limits how often something happens: a burst, and a rate in the long run. Pure."""

from __future__ import annotations


class Allowance:
    """A token bucket. `now` is monotonic seconds."""

    def __init__(self, per_second: float, at_once: float) -> None:
        self.per_second = per_second
        self.at_once = at_once
        self.refused = 0
        """Since the last that was allowed."""
        self._left = at_once
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Take a token; return False if there is none."""
        self._left = min(self._left + max(now - self._at, 0.0) * self.per_second, self.at_once)
        self._at = now
        if self._left < 1.0:
            self.refused += 1
            return False
        self._left -= 1.0
        self.refused = 0
        return True
