"""The scoreboard's bytes: a header, one stage byte for each slot side by side, the slots, and what they have counted.

Rules of the file. One writer for each part: the master writes the header, a worker writes its own stage byte and slot,
and (only before a worker has taken the slot, or after it is gone) the master clears it. No locks: a part is preceded by
a sequence counter that is odd while it is written. A reader copies, checks that the counter was even and has not
moved, and tries again; what it reads is untrusted (any process of the pool can write any byte).
Totals are computed by readers. A worker that dies has its slot added to the header and cleared within one step of the
header's counter, so that a reader who looks at that counter before and after counts it once.

Both structures follow their tables (fpm.scoreboard.numbers.PoolNumbers, fpm.scoreboard.snapshot.Slot) and grow at their
ends only: after an upgrade of pyfpm, old workers and a new master share a scoreboard. Behind the slots there are, for
each slot, a block of statistics (fpm.scoreboard.statistics), one more block, the master's, with what the pool has
counted on other scoreboards, and for each slot a table of routes (fpm.scoreboard.route_table); what nobody has written
to costs no memory. A scoreboard of a pyfpm before them ends with its slots. Pure.
"""

from __future__ import annotations

import struct

from fpm.scoreboard.number import codes_of
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.route_table import ROUTES_SIZE
from fpm.scoreboard.snapshot import SLOT_CODES
from fpm.scoreboard.statistics import STATISTICS_SIZE

MAGIC = b"PYFPMSB1"
HEADER_SIZE = 256
WAKE_BELOW = struct.Struct("<H")
"""At WAKE_BELOW_OFFSET: a worker that takes a request and then counts fewer idle workers than this writes 1 to the
pool's eventfd. 0 disarms it; the master arms it only while it wants to know."""
WAKE_BELOW_OFFSET = 8

START = struct.Struct("<8sHHII")
"""magic, wake_below, slot count, slot size, sequence."""
HEADER_SEQUENCE_OFFSET = START.size - 4
HEADER_CODES = codes_of(PoolNumbers)
HEADER = struct.Struct("<" + "".join(HEADER_CODES.values()))
"""The numbers, after START."""
HEADER_END = START.size + HEADER.size
assert HEADER_END <= HEADER_SIZE

SLOT = struct.Struct("<I" + "".join(SLOT_CODES.values()))
"""The sequence, then the fields of Slot. Texts are NUL padded."""
SLOT_SIZE = (SLOT.size + 63) // 64 * 64


def field_offset(name: str) -> int:
    """Return where a field begins in its slot."""
    before = list(SLOT_CODES)[: list(SLOT_CODES).index(name)]
    return struct.calcsize("<I" + "".join(SLOT_CODES[one] for one in before))


REQUEST = struct.Struct("<QdQ")
"""At REQUEST_OFFSET of a slot: requests served, the current one's start (epoch s), its duration."""
REQUEST_OFFSET = field_offset("requests")
BEGAN_OFFSET = field_offset("began")
FREED_OFFSET = field_offset("freed")
INTERRUPT = struct.Struct("<I")
INTERRUPT_OFFSET = field_offset("interrupt")


def stages_offset() -> int:
    """Return where the stage bytes begin."""
    return HEADER_SIZE


def slots_offset(slots: int) -> int:
    """Where the first slot begins: after the stage bytes, on a cache line."""
    return HEADER_SIZE + (slots + 63) // 64 * 64


def slot_offset(slots: int, index: int) -> int:
    """Where slot `index` of `slots` begins."""
    return slots_offset(slots) + index * SLOT_SIZE


def slots_end(slots: int) -> int:
    """Bytes of a scoreboard that has nothing behind its slots, in whole pages."""
    return _pages(slots_offset(slots) + slots * SLOT_SIZE)


def statistics_offset(slots: int, index: int) -> int:
    """Where the statistics of slot `index` of `slots` begin; behind the last slot's are the master's."""
    return slots_end(slots) + index * STATISTICS_SIZE


def routes_offset(slots: int, index: int) -> int:
    """Where the table of routes of slot `index` of `slots` begins."""
    return _pages(statistics_offset(slots, slots + 1)) + index * ROUTES_SIZE


def board_size(slots: int) -> int:
    """Bytes of a scoreboard with this many slots, in whole pages."""
    return routes_offset(slots, slots)


def _pages(size: int) -> int:
    return (size + 4095) // 4096 * 4096
