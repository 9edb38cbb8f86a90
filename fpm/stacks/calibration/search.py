"""Looking for known values in pieces of memory. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable

POINTER_SIZE = 8
POINTER_BYTES = struct.Struct("=Q")


class Doubt(Exception):
    """Something is not where and as it should be, so there is no layout; the sentence says what."""


class Refused(Doubt):
    """It can never work with this interpreter; another try is no use."""


def words(block: bytes) -> tuple[int, ...]:
    """All pointers of a block, as numbers."""
    count = len(block) // POINTER_SIZE
    return struct.unpack_from(f"={count}Q", block)


def places_of_word(block: bytes, value: int) -> set[int]:
    """Offsets, multiples of eight, at which a block has a pointer."""
    return _places(block, POINTER_BYTES.pack(value), POINTER_SIZE)


def places_of_tagged(block: bytes, value: int, tags: int) -> set[int]:
    """The same if the bits `tags` of what is there are ignored."""
    return {index * POINTER_SIZE for index, word in enumerate(words(block)) if word & ~tags == value}


def places_of_int(block: bytes, value: int) -> set[int]:
    """Offsets, multiples of four, at which a block has a C int."""
    return _places(block, struct.pack("=i", value), 4)


def _places(block: bytes, wanted: bytes, step: int) -> set[int]:
    found = set()
    place = block.find(wanted)
    while place >= 0:
        if place % step == 0:
            found.add(place)
        place = block.find(wanted, place + 1)
    return found


def the_one(name: str, candidates: Iterable[set[int]]) -> int:
    """The only offset that is in every set.

    Raises:
        Doubt: there is none, or more than one.
    """
    common = set.intersection(*candidates)
    if len(common) != 1:
        found = f"{len(common)} places fit it ({', '.join(map(str, sorted(common)[:5]))})" if common else "not found"
        raise Doubt(f"{name}: {found}")
    return common.pop()
