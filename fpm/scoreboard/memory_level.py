"""How a pool's memory stands to its limits, as a number of the status. Pure."""

from __future__ import annotations

from enum import IntEnum


class MemoryState(IntEnum):
    """The numbers."""

    UNLIMITED = 0
    """Neither pm.memory_soft nor pm.memory_hard is set."""
    WITHIN = 1
    ABOVE_SOFT = 2
    ABOVE_HARD = 3


_WORDS = {
    MemoryState.WITHIN: "kept",
    MemoryState.ABOVE_SOFT: "above pm.memory_soft",
    MemoryState.ABOVE_HARD: "above pm.memory_hard",
}


def describe_memory(value: int) -> str | None:
    """Say it in words; None: there is no limit."""
    return _WORDS[MemoryState(value)] if value in tuple(_WORDS) else None


def measure_memory(value: int) -> int | None:
    """Return 0 for kept, 1 and 2 for above the soft and the hard limit; None: there is no limit."""
    return value - MemoryState.WITHIN if value else None
