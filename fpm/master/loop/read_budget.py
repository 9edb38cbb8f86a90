"""A pool's share of the master's time: what its processes say is read as fast as it comes, but never at others' cost.

Pure arithmetic. A pool saves up time at RATE while it is quiet; whoever reads for it spends what that took; a pool in
debt is not read until it has paid. Its processes then find their pipes and channels full, which they are made for.
Pure.
"""

from __future__ import annotations

RATE = 0.2
"""Seconds of the master's time for each second, in the long run."""
SAVED_MAX = 0.5
"""Seconds that a quiet pool saves up: a burst of about 10,000 messages, or of 5 MB of lines."""
PAUSE_MAX = 1.0
"""Seconds; a pool in debt is heard that often all the same, for its workers' ends are among what it says."""
MESSAGE_COST = 0.00005
LINE_COST = 0.000015
CHARACTER_COST = 0.000001
"""Seconds for a message; to log a line of text; a character of it, if it has to be escaped."""


def message_cost(text: str = "") -> float:
    """Seconds that a message with this text costs; reckoned, for what it sets going may rightly take long."""
    return MESSAGE_COST + (text.count("\n") + 1) * LINE_COST + len(text) * CHARACTER_COST


class Share:
    """One pool's account; all times in seconds, `now` monotonic."""

    def __init__(self) -> None:
        self._balance = SAVED_MAX
        self._at = 0.0

    def spend(self, seconds: float, now: float) -> None:
        """Something was read for this pool."""
        self._save(now)
        self._balance -= seconds

    def pause(self, now: float) -> float:
        """How long not to read; 0.0 while there is something left."""
        self._save(now)
        return min(-self._balance / RATE, PAUSE_MAX) if self._balance < 0 else 0.0

    def _save(self, now: float) -> None:
        self._balance = min(SAVED_MAX, self._balance + RATE * max(now - self._at, 0.0))
        self._at = now
