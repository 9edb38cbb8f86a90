"""What the master keeps in the scoreboard's header: what workers' slots add to it, and its bytes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from fpm.scoreboard.layout import HEADER, HEADER_CODES, HEADER_SIZE, MAGIC, SLOT_SIZE, START
from fpm.scoreboard.number import COUNT_MAX, clamp
from fpm.scoreboard.numbers import ROWS, PoolNumbers
from fpm.scoreboard.snapshot import Slot

SLOTS_MAX = 65535
"""The slot count is 16 bits wide in the header."""
_MERGED = [(name, row.merge) for name, row in ROWS.items() if row.merge is not None]


def absorb(numbers: PoolNumbers, slots: Sequence[Slot], now: float) -> None:
    """Add what these workers have counted to the numbers of their pool; `now` is epoch seconds."""
    for name, merge in _MERGED:
        values = [getattr(numbers, name), *(getattr(slot, name) for slot in slots)]
        setattr(numbers, name, min(merge(values), COUNT_MAX))
    numbers.slow_requests = min(numbers.slow_requests + sum(slot.is_slow(numbers, now) for slot in slots), COUNT_MAX)


def pack_header(numbers: PoolNumbers) -> bytes:
    """The header of HEADER_SIZE bytes; wake_below, slot count and sequence are 0."""
    values = [clamp(code, getattr(numbers, name)) for name, code in HEADER_CODES.items()]
    return (START.pack(MAGIC, 0, 0, SLOT_SIZE, 0) + HEADER.pack(*values)).ljust(HEADER_SIZE, b"\0")
