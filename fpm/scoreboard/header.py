"""What the master says in the scoreboard's header, as values and as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import fields

from fpm.scoreboard.layout import HEADER
from fpm.scoreboard.layout import HEADER_SIZE
from fpm.scoreboard.layout import MAGIC
from fpm.scoreboard.layout import SLOT_SIZE
from fpm.scoreboard.snapshot import COUNT_MAX
from fpm.scoreboard.snapshot import Slot

SLOTS_MAX = 65535
"""The slot count is 16 bits wide in the header."""
_UINT_MAX = 0xFFFFFFFF
_UINTS = (20, 21, 22, 23, 24, 25, 27, 28, 29)
"""The places of the fields that are 32 bits wide."""


@dataclass(slots=True)
class HeaderValues:
    """What the master knows of a pool beyond its living workers: it keeps one for each pool, writes it when it changes.

    The counters from `requests` on are sums and maxima over workers that are gone, and what only the master sees.
    """

    generation: int = 0
    max_children: int = 0
    start_time: float = 0.0
    """Epoch seconds."""
    requests: int = 0
    max_children_reached: int = 0
    slow_requests: int = 0
    max_active: int = 0
    max_listen_queue: int = 0
    memory_peak: int = 0
    """Bytes."""
    errors: int = 0
    recycled: int = 0
    deaths_by_exit: int = 0
    deaths_by_signal: int = 0
    deaths_by_kill: int = 0
    deaths_by_timeout: int = 0
    slow_limit: int = 0
    """Microseconds; 0: none."""
    last_death: float = 0.0
    """This and the three below in epoch seconds."""
    last_reload: float = 0.0
    failed_since: float = 0.0
    next_start: float = 0.0
    last_death_status: int = 0
    start_failures: int = 0
    flags: int = 0
    min_spare: int = 0
    max_spare: int = 0
    max_requests: int = 0
    background_early: int = 0
    """Requests whose work after the response ran before it (pm.background_max)."""
    background_max: int = 0
    deaths_by_oom: int = 0
    recycled_memory: int = 0
    """Workers that left at pm.max_memory; `recycled` are those that left at pm.max_requests."""

    def absorb(self, slot: Slot, now: float) -> None:
        """Keep what a dead worker has counted, before its slot is cleared; `now` is epoch seconds."""
        self.requests = min(self.requests + slot.requests, COUNT_MAX)
        self.slow_requests = min(self.slow_requests + slot.slow + slot.is_slow(self.slow_limit, now), COUNT_MAX)
        self.errors = min(self.errors + slot.errors, COUNT_MAX)
        self.background_early = min(self.background_early + slot.background_early, COUNT_MAX)
        self.max_active = max(self.max_active, slot.max_active)
        self.memory_peak = max(self.memory_peak, slot.memory_peak)


_FIELDS = tuple(field.name for field in fields(HeaderValues))
"""In the order of layout.HEADER."""


def pack_header(values: HeaderValues) -> bytes:
    """The header of HEADER_SIZE bytes; wake_below, slot count and sequence are 0."""
    numbers = [getattr(values, name) for name in _FIELDS]
    numbers[0] &= _UINT_MAX
    numbers[1] = min(values.max_children, SLOTS_MAX)
    for index in _UINTS:
        numbers[index] = min(max(numbers[index], 0), _UINT_MAX)
    return HEADER.pack(MAGIC, 0, 0, SLOT_SIZE, 0, *numbers).ljust(HEADER_SIZE, b"\0")
