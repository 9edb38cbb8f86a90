"""What has been counted in a while, in few bytes: most buckets of a histogram are empty, and most pools idle. Pure."""

from __future__ import annotations

import struct
from array import array

from fpm.scoreboard.buckets import BUCKETS, Histogram
from fpm.scoreboard.statistics import CLASSES, HISTOGRAMS, Statistics

TOTALS = len(HISTOGRAMS)
NUMBERS = CLASSES + 1 + TOTALS * BUCKETS
"""The responses by class, the aborted ones, the buckets of each histogram."""
assert NUMBERS <= 256, "the place of a number is one byte"
COUNT_TOP = 2**48
"""The most that is believed of one number in one point: sums of all points of a pool stay far below 64 bits."""
NOTHING = Statistics()

_TOTALS = struct.Struct(f"<{TOTALS}Q")
_HEAD = _TOTALS.size + 1
_WIDTHS = {"B": 1, "H": 2, "Q": 8}


def pack_counts(counted: Statistics, most: int = COUNT_TOP) -> bytes:
    """Pack the difference of two Statistics: sums of durations, then the numbers that are not 0; "" for nothing.

    Args:
        most: a greater number becomes this one.
    """
    if counted == NOTHING:
        return b""
    histograms = [getattr(counted, name) for name in HISTOGRAMS]
    numbers = [*counted.classes, counted.aborted]
    for histogram in histograms:
        numbers += histogram.counts
    places = bytes([place for place, number in enumerate(numbers) if number])
    kept = [min(numbers[place], most) for place in places]
    widest = max(kept, default=0)
    code = "B" if widest < 1 << 8 else "H" if widest < 1 << 16 else "Q"
    totals = _TOTALS.pack(*(min(histogram.total, most) for histogram in histograms))
    return b"".join([totals, code.encode(), places, array(code, kept).tobytes()])


def check_counts(data: bytes, most: int = COUNT_TOP) -> bytes:
    """Return what `pack_counts` may have made, as it is.

    Raises:
        ValueError: these bytes are something else.
    """
    if not data:
        return b""
    places, numbers = _unpack(data)
    if max(places, default=0) >= NUMBERS or len(set(places)) < len(places) or max(numbers, default=0) > most:
        raise ValueError("these are no counts")
    if max(_TOTALS.unpack_from(data)) > most:
        raise ValueError("a sum of durations is out of range")
    return data


def _unpack(data: bytes) -> tuple[bytes, array[int]]:
    code = chr(data[_HEAD - 1]) if len(data) >= _HEAD else ""
    used, rest = divmod(len(data) - _HEAD, 1 + _WIDTHS.get(code, 0))
    if code not in _WIDTHS or rest:
        raise ValueError("these are no counts")
    numbers = array(code)
    numbers.frombytes(data[_HEAD + used :])
    return data[_HEAD : _HEAD + used], numbers


class Sums:
    """Adds up counts, and takes them away again; costs nothing while there are none."""

    __slots__ = ("_known", "_numbers")

    def __init__(self) -> None:
        self._numbers: array[int] | None = None
        self._known: Statistics | None = NOTHING

    def add(self, data: bytes, sign: int = 1) -> None:
        """Add what `pack_counts` has packed; -1 as the sign takes it away."""
        if not data:
            return
        if self._numbers is None:
            self._numbers = array("q", bytes(8 * (TOTALS + NUMBERS)))
        sums = self._numbers
        for at, total in enumerate(_TOTALS.unpack_from(data)):
            sums[at] += sign * total
        for place, number in zip(*_unpack(data), strict=True):
            sums[TOTALS + place] += sign * number
        self._known = None

    def clear(self) -> None:
        """Forget everything."""
        self._numbers, self._known = None, NOTHING

    def as_statistics(self) -> Statistics:
        """Return the sums."""
        if self._known is None:
            assert self._numbers is not None
            if not any(self._numbers):
                self.clear()
                return NOTHING
            self._known = _build(self._numbers)
        return self._known


def _build(sums: array[int]) -> Statistics:
    first = TOTALS + CLASSES + 1
    histograms = [
        Histogram(sums[number], tuple(sums[first + number * BUCKETS : first + (number + 1) * BUCKETS]))
        for number in range(TOTALS)
    ]
    return Statistics(tuple(sums[TOTALS : TOTALS + CLASSES]), sums[TOTALS + CLASSES], *histograms)


def add_statistics(one: Statistics, other: Statistics) -> Statistics:
    """Return both together."""
    if one == NOTHING or other == NOTHING:
        return other if one == NOTHING else one
    classes = tuple([left + right for left, right in zip(one.classes, other.classes, strict=True)])
    histograms = (getattr(one, name) + getattr(other, name) for name in HISTOGRAMS)
    return Statistics(classes, one.aborted + other.aborted, *histograms)
