"""A pool's share of the master's time: its processes' output is read at once, but never at other pools' cost. Pure.

A quiet pool saves time at RATE; reading for it spends time; a pool in debt is not read until it has paid. Its processes
then find their pipes and channels full, and wait.
"""

from __future__ import annotations

RATE = 0.2
"""Seconds of the master's time for each second, in the long run."""
SAVED_MAX = 0.5
"""Seconds that a quiet pool can save: a burst of about 10,000 messages, or of 5 MB of lines."""
PAUSE_MAX = 1.0
"""Seconds; a pool in debt is read at least this often, because its messages include its workers' exits."""
MESSAGE_COST = 0.00005
LINE_COST = 0.000015
CHARACTER_COST = 0.000001
"""Seconds for a message, for logging a line of text, and for each of its characters if it must be escaped."""


def message_cost(text: str = "") -> float:
    """Estimate the seconds to handle a message with this text; measuring would charge the work that it starts."""
    return MESSAGE_COST + (text.count("\n") + 1) * LINE_COST + len(text) * CHARACTER_COST


class ReadBudget:
    """One pool's account; all times in seconds, `now` monotonic."""

    def __init__(self) -> None:
        self._balance = SAVED_MAX
        self._at = 0.0

    def spend(self, seconds: float, now: float) -> None:
        """Charge time spent on this pool."""
        self._save(now)
        self._balance -= seconds

    def pause(self, now: float) -> float:
        """Return the seconds until the pool may be read again; 0.0 within the budget."""
        self._save(now)
        return min(-self._balance / RATE, PAUSE_MAX) if self._balance < 0 else 0.0

    def _save(self, now: float) -> None:
        self._balance = min(SAVED_MAX, self._balance + RATE * max(now - self._at, 0.0))
        self._at = now


class TokenBucket:
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
