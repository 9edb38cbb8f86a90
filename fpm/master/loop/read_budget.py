"""A pool's share of the master's time: its processes' output is read at once, but never at other pools' cost. Pure.

A quiet pool saves time at RATE; what is done for it is measured and spends time; a pool in debt is not read until it
has paid. Its processes then find their pipes and channels full, and wait. And however much a pool has saved, in one
turn of the loop it gets no more than TURN_MAX, so that nobody else waits long.
"""

from __future__ import annotations

RATE = 0.2
"""Seconds of the master's time for each second, in the long run."""
SAVED_MAX = 0.5
"""Seconds that a quiet pool can save: a burst of about 10,000 messages, or of 5 MB of lines."""
PAUSE_MAX = 1.0
"""Seconds; of a pool in debt something is read at least this often, for its workers' exits are among its messages."""
TURN_MAX = 0.005
"""Seconds in one turn of the loop, exceeded by the last thing that is read."""
MESSAGE_COST = 0.00005
BYTE_COST = 0.000001
"""Seconds that a message costs at least, and each of its bytes: what is written because of it costs others, too."""


def message_cost(size: int, measured: float) -> float:
    """Return the seconds to charge for a message of so many bytes; `measured`: those that it has taken."""
    return max(measured, MESSAGE_COST + size * BYTE_COST)


class ReadBudget:
    """One pool's account; all times in seconds, `now` monotonic."""

    def __init__(self) -> None:
        self._balance = SAVED_MAX
        self._at = 0.0
        self._turn = -1
        self._spent_in_turn = 0.0

    def spend(self, seconds: float, now: float, turn: int | None = None) -> None:
        """Charge time spent on this pool, in the last turn of the loop if none is named."""
        self._save(now)
        self._enter(self._turn if turn is None else turn)
        self._balance -= seconds
        self._spent_in_turn += seconds

    def pause(self, now: float) -> float:
        """Return the seconds until the pool may be read again; 0.0 within the budget."""
        self._save(now)
        return min(-self._balance / RATE, PAUSE_MAX) if self._balance < 0 else 0.0

    def may_read(self, now: float, turn: int = 0) -> bool:
        """Tell whether something may be read in this turn of the loop."""
        self._enter(turn)
        return self._spent_in_turn < TURN_MAX and self.pause(now) == 0.0

    def _enter(self, turn: int) -> None:
        if turn != self._turn:
            self._turn, self._spent_in_turn = turn, 0.0

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
