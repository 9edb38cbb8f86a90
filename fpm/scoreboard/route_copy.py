"""Copies a table of routes for somebody who reads it elsewhere, and reads it there (fpm.status.routes).

All of it is untrusted: what is handed on is a number of entries, whatever is in them. Pure.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from typing import NamedTuple

from fpm.scoreboard.number import COUNT_MAX
from fpm.scoreboard.route_fold import TEXT_MAX
from fpm.scoreboard.route_table import BUCKETS, ENTRIES, ENTRY, USED_OFFSET

COPY_TRIES = 5
"""Changes of an entry's owner in the middle of a copy that are waited out."""
_UINT = struct.Struct("=I")
_NUMBERS, _BUCKETS = 16, 56
"""Where they are in an entry."""
_LOW = int.from_bytes(b"\xff\xff\xff\xff\0\0\0\0" * (BUCKETS // 2), "little")


class RouteCounts(NamedTuple):
    """An entry, or the sum of several."""

    text: bytes
    """The pattern; b"" of all others."""
    numbers: tuple[int, ...]
    """Requests, errors, time, CPU time, growth: microseconds and bytes."""
    buckets: tuple[int, ...]


def copy_table(table: memoryview) -> bytes:
    """Copy the entries that are in use; b"" if there are none, or no table."""
    if not len(table):
        return b""
    copy = b""
    for _ in range(COPY_TRIES):
        (before,), (used,) = _UINT.unpack_from(table), _UINT.unpack_from(table, USED_OFFSET)
        if not used:
            return b""
        copy = bytes(table[: (1 + min(used, ENTRIES - 1)) * ENTRY.size])
        if not before & 1 and _UINT.unpack_from(table)[0] == before:
            break
    return copy


class Sums:
    """Adds entries up, as two long numbers for each pattern: a hundred times as quick as number by number.

    A sum that does not fit, which only a process of the pool can have made, spoils its neighbour in the same pool.
    """

    def __init__(self) -> None:
        self._sums: dict[bytes, list[int]] = {}

    def add(self, data: bytes) -> None:
        """Add the entries of tables, one after another; those that cannot be true are left out."""
        sums, order = self._sums, sys.byteorder
        for at in range(0, len(data) - ENTRY.size + 1, ENTRY.size):
            size = _UINT.unpack_from(data, at + 4)[0]
            if size > TEXT_MAX:
                continue
            text = data[at + USED_OFFSET : at + USED_OFFSET + size]
            buckets = int.from_bytes(data[at + _BUCKETS : at + USED_OFFSET], order)
            numbers = int.from_bytes(data[at + _NUMBERS : at + _BUCKETS], order)
            if (found := sums.get(text)) is None:
                found = sums[text] = [0, 0, 0]
            found[0] += numbers
            found[1] += buckets & _LOW
            found[2] += buckets >> 32 & _LOW

    def read(self) -> list[RouteCounts]:
        """Return the sum for each pattern."""
        return [RouteCounts(text, _split(sums[0], 5), _join(*sums[1:])) for text, sums in self._sums.items()]


def _split(total: int, count: int) -> tuple[int, ...]:
    data = (total & (1 << 64 * count) - 1).to_bytes(8 * count, sys.byteorder)
    return tuple([min(number, COUNT_MAX) for number in struct.unpack(f"={count}Q", data)])


def _join(low: int, high: int) -> tuple[int, ...]:
    """Put the buckets together again, of which each second one was in the other number."""
    first, second = (_split(half, BUCKETS // 2) for half in ((low, high) if sys.byteorder == "little" else (high, low)))
    return tuple([number for pair in zip(first, second, strict=True) for number in pair])


def sum_counts(counts: Sequence[RouteCounts]) -> RouteCounts:
    """Add several up, as all others."""
    _, *parts = zip(*counts, strict=True)
    numbers, buckets = (tuple(map(sum, zip(*part, strict=True))) for part in parts)
    return RouteCounts(b"", tuple([min(number, COUNT_MAX) for number in numbers]), buckets)
