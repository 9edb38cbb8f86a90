"""The scoreboard's bytes: a header, one stage byte for each slot side by side, then the slots.

Rules of the file. One writer for each part: the master writes the header, a worker writes its own stage byte and slot,
and (only before a worker has taken the slot, or after it is gone) the master clears it. No locks: a part is preceded by
a sequence counter that is odd while it is written. A reader copies, checks that the counter was even and has not
moved, and tries again; what it reads is untrusted (any process of the pool can write any byte).
Totals are computed by readers. A worker that dies has its slot added to the header and cleared within one step of the
header's counter, so that a reader who looks at that counter before and after counts it once.

Both structures grow at their ends only: after an upgrade of pyfpm, old workers and a new master share a scoreboard.
Pure.
"""

from __future__ import annotations

import struct

MAGIC = b"PYFPMSB1"
HEADER_SIZE = 256
URI_SIZE = 512
QUERY_SIZE = 512
SCRIPT_SIZE = 256
METHOD_SIZE = 16
USER_SIZE = 32
TASK_SIZE = 96
TASKS_SIZE = 192

WAKE_BELOW = struct.Struct("<H")
"""At WAKE_BELOW_OFFSET: a worker that takes a request and then counts fewer idle workers than this writes 1 to the
pool's eventfd. 0 disarms it; the master arms it only while it wants to know."""
WAKE_BELOW_OFFSET = 8

HEADER = struct.Struct("<8sHHIIIIdQQQQQQQQQQQQQddddIIIIIIQIII")
"""magic, wake_below, slot count, slot size, sequence, generation, max_children, start time (epoch s), then what has
gone from the slots of dead workers or is known only to the master: requests, max_children_reached, slow_requests,
max_active, max_listen_queue, memory_peak (bytes); errors, recycled, deaths by exit, signal, kill, timeout, slow limit
(us; 0: none); times of the last death, the last reload, the failure and the next start (epoch s; 0: none); the wait
status of the last death, failed starts in a row, flags, min_spare, max_spare, max_requests; background_early,
background_max; deaths for lack of memory, workers that left at pm.max_memory."""
FLAG_FAILED = 1
FLAG_RELOAD_FAILED = 2
FLAG_TRACKS_FINISHED = 4
"""A request may become slow after its response, too."""
HEADER_SEQUENCE_OFFSET = 16

SLOT = struct.Struct(
    f"<IIdQdQQQIQI{METHOD_SIZE}s{URI_SIZE}s{QUERY_SIZE}sd{SCRIPT_SIZE}s{USER_SIZE}sIIId{TASKS_SIZE}sdI"
)
"""sequence, pid, start time (epoch s), requests served, current or last request's start (epoch s), its duration (us; 0
while it runs), its CPU time (us), its content length (bytes), slow requests, memory peak (bytes), max_active seen,
method, URI (path without query), query string, the request's start once more (CLOCK_MONOTONIC s, which nobody can set),
script, authenticated user, errors (uncaught exceptions); then of work after the response: requests whose work ran
before it (pm.background_max), functions that have not begun yet, when the response was complete (epoch s; 0: it is
not, or the worker is done), the names of the function and of those that wait, with newlines between them, when the
response was complete once more (CLOCK_MONOTONIC s). Texts are NUL padded. The last number is the master's: the request
(as in requests served, modulo 2**32) that is to be interrupted; the worker makes it 0 when that is done."""
REQUEST = struct.Struct("<QdQ")
"""At REQUEST_OFFSET of a slot: requests served, the current one's start (epoch s), its duration."""
REQUEST_OFFSET = struct.calcsize("<IId")
BEGAN_OFFSET = struct.calcsize(f"<IIdQdQQQIQI{METHOD_SIZE}s{URI_SIZE}s{QUERY_SIZE}s")
INTERRUPT = struct.Struct("<I")
INTERRUPT_OFFSET = SLOT.size - INTERRUPT.size
FREED_OFFSET = INTERRUPT_OFFSET - struct.calcsize("<d")
SLOT_SIZE = (SLOT.size + 63) // 64 * 64


def stages_offset() -> int:
    """Where the stage bytes begin."""
    return HEADER_SIZE


def slots_offset(slots: int) -> int:
    """Where the first slot begins: after the stage bytes, on a cache line."""
    return HEADER_SIZE + (slots + 63) // 64 * 64


def slot_offset(slots: int, index: int) -> int:
    """Where slot `index` of `slots` begins."""
    return slots_offset(slots) + index * SLOT_SIZE


def board_size(slots: int) -> int:
    """Bytes of a scoreboard with this many slots, in whole pages."""
    return (slots_offset(slots) + slots * SLOT_SIZE + 4095) // 4096 * 4096
