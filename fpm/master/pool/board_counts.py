"""What the slots of a scoreboard have counted, added up slice by slice: others do not wait for thousands."""

from __future__ import annotations

from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.statistics import pack_sum

SLICE = 64
"""Slots that are added up together."""


class BoardCounts:
    """The sum over one scoreboard, each slice as it was when it was last read.

    What is counted only grows, so a sum of slices that were read at different moments is never less than it was.
    """

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self._slices: dict[int, int] = {}
        """What has been counted in each, as one long number; none for slices that nobody has written to."""
        self._total = 0
        self._at = 0
        """The slot with which the present pass goes on; 0: the last one is complete."""

    @property
    def is_complete(self) -> bool:
        """Tell whether no pass is under way."""
        return self._at == 0

    @property
    def known_slots(self) -> int:
        """Return how many slots are read in a pass, about."""
        return len(self._slices) * SLICE

    def begin(self) -> None:
        """Begin a new pass."""
        self._at = 0

    def go_on(self, at_most: int) -> int:
        """Go on with a pass over all slots, or begin one.

        Args:
            at_most: how many slots are read at most, in whole slices.

        Returns:
            How many were read.
        """
        read = 0
        while read < at_most:
            written = self._board.find_written(self._at)
            if written is None:
                self._at = 0
                break
            number = written // SLICE
            first, last = number * SLICE, min((number + 1) * SLICE, self._board.slots)
            counted = int.from_bytes(self._board.sum_slots(first, last), "little")
            self._total += counted - self._slices.get(number, 0)
            self._slices[number] = counted
            read += last - first
            self._at = last % self._board.slots
            if not self._at:
                break
        return read

    def sum(self) -> bytes:
        """Return the sum as far as it is known; see sum_blocks()."""
        return pack_sum(self._total)
