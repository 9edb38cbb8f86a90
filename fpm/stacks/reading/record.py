"""Some fields of a C structure, taken out of its bytes with one call."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from struct import Struct, calcsize

POINTER = "Q"
INT = "i"
WORD = "I"
BYTE = "B"
ONE_BYTE_ORDER = "="
"""The reader's own, without padding: both processes are on one machine."""


class Record:
    """A compiled choice of fields."""

    def __init__(self, *wanted: tuple[int, str]) -> None:
        """`wanted`: offset and struct format of each field, two or more, in the order of take()'s result.

        Raises:
            ValueError: two fields lie on each other.
        """
        order = sorted(range(len(wanted)), key=lambda index: wanted[index][0])
        text, end = [ONE_BYTE_ORDER], 0
        for index in order:
            offset, form = wanted[index]
            if offset < end:
                raise ValueError(f"the field at {offset} begins before the one before it ends")
            text.append(f"{offset - end}x{form}")
            end = offset + calcsize(ONE_BYTE_ORDER + form)
        self.size = end
        """Bytes that must be there."""
        unpack = Struct("".join(text)).unpack_from
        places = [order.index(index) for index in range(len(wanted))]
        if places == list(range(len(wanted))):
            self.take: Callable[[bytes, int], tuple[int, ...]] = unpack
        else:
            arrange: Callable[[tuple[int, ...]], tuple[int, ...]] = itemgetter(*places)
            self.take = lambda buffer, start: arrange(unpack(buffer, start))
        """Buffer and start of the structure in it -> the values."""
