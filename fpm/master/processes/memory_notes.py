"""What is known of the memory of one process of a pool. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class MemoryNotes:
    """All sizes in bytes, all times monotonic seconds."""

    pss: int | None = None
    """Its own pages and its part of those that it shares (proc(5), smaps_rollup), as last measured; None: not known."""
    pss_at: float = 0.0
    """When that was; and before when it is not measured again."""
    pss_due: float = 0.0
    resident_then: int = 0
    """Its resident size when that was."""


@dataclass(frozen=True, slots=True, eq=False)
class Measurable:
    """A process whose PSS somebody wants to know."""

    pid: int
    pool: str
    notes: MemoryNotes
