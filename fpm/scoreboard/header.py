"""What the master keeps in the scoreboard's header: what is added to it, and its bytes. Pure."""

from __future__ import annotations

from dataclasses import fields

from fpm.scoreboard.layout import HEADER, HEADER_SIZE, MAGIC, SLOT_SIZE
from fpm.scoreboard.snapshot import COUNT_MAX, Header, Slot

SLOTS_MAX = 65535
"""The slot count is 16 bits wide in the header."""
_UINT_MAX = 0xFFFFFFFF
_UINTS = (20, 21, 22, 23, 24, 25, 27, 28, 29)
"""The places of the fields that are 32 bits wide."""


def absorb(header: Header, slot: Slot, now: float) -> None:
    """Keep what a dead worker has counted, before its slot is cleared; `now` is epoch seconds."""
    header.requests = min(header.requests + slot.requests, COUNT_MAX)
    header.slow_requests = min(header.slow_requests + slot.slow + slot.is_slow(header, now), COUNT_MAX)
    header.errors = min(header.errors + slot.errors, COUNT_MAX)
    header.background_early = min(header.background_early + slot.background_early, COUNT_MAX)
    header.max_active = max(header.max_active, slot.max_active)
    header.memory_peak = max(header.memory_peak, slot.memory_peak)


_FIELDS = tuple(field.name for field in fields(Header))
"""In the order of layout.HEADER."""


def pack_header(header: Header) -> bytes:
    """The header of HEADER_SIZE bytes; wake_below, slot count and sequence are 0."""
    numbers = [getattr(header, name) for name in _FIELDS]
    numbers[0] &= _UINT_MAX
    numbers[1] = min(header.max_children, SLOTS_MAX)
    for index in _UINTS:
        numbers[index] = min(max(numbers[index], 0), _UINT_MAX)
    return HEADER.pack(MAGIC, 0, 0, SLOT_SIZE, 0, *numbers).ljust(HEADER_SIZE, b"\0")
