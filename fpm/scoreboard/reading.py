"""Reads a scoreboard, or copies it for somebody who reads it elsewhere.

Everything read here is untrusted, for any process of the pool can write any byte: numbers are clamped to what can be
true, times that are no times become 0.0, an unknown stage is a free slot, and no input raises. A reader never waits for
a writer; a part that is still being written after READ_TRIES tries keeps its numbers and loses its texts. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from fpm.scoreboard.layout import (
    BEGAN_OFFSET,
    FREED_OFFSET,
    HEADER,
    HEADER_CODES,
    HEADER_SEQUENCE_OFFSET,
    HEADER_SIZE,
    MAGIC,
    REQUEST,
    REQUEST_OFFSET,
    SLOT,
    SLOT_SIZE,
    START,
    slot_offset,
    slots_offset,
    stages_offset,
)
from fpm.scoreboard.number import COUNT, COUNT_MAX, TIME, clamp
from fpm.scoreboard.numbers import ROWS, PoolNumbers
from fpm.scoreboard.snapshot import PID_MAX, SLOT_CODES, Board, Clocks, Slot
from fpm.scoreboard.stages import Stage

READ_TRIES = 50
HEADER_TRIES = 5000
"""The master moves what a dead worker has counted while the header is open; it may lose the processor in the middle."""
PAUSES = 200
"""Pauses, of a millisecond, in which a reader waits for a master that has lost the processor."""
BOARD_TRIES = 50
"""Deaths of workers in the middle of a reading that are waited out."""

_STAGES = [Stage(value) if value in Stage.__members__.values() else Stage.FREE for value in range(256)]
_CLOCK = struct.Struct("<d")
_TEXTS = [name for name, code in SLOT_CODES.items() if code.endswith("s")]


def read_board(view: memoryview, slots: int, room: int = 0, pause: Callable[[], None] | None = None) -> Board:
    """Read the header and every slot in use; again if meanwhile a dead worker's slot went into the header.

    Args:
        room: how many slots the original has, if this is a copy of the used ones.
        pause: gives the master a moment to end what it writes.
    """
    board = _read_board(view, slots, room, pause)
    for _ in range(BOARD_TRIES):
        before = board.header
        if read_header(view, pause) == before:
            break
        board = _read_board(view, slots, room, pause)
    return board


def _read_board(view: memoryview, slots: int, room: int, pause: Callable[[], None] | None) -> Board:
    header = read_header(view, pause)
    stages = bytes(view[stages_offset() : stages_offset() + slots])
    return Board(
        header=header,
        slots=tuple(
            None if _STAGES[byte] is Stage.FREE else read_slot(view, slots, index, room)
            for index, byte in enumerate(stages)
        ),
    )


def read_header(view: memoryview, pause: Callable[[], None] | None = None) -> PoolNumbers:
    """Read the header alone."""
    tries = HEADER_TRIES if pause is None else READ_TRIES + PAUSES
    copy, _ = _copy_stable(view[: START.size + HEADER.size], HEADER_SEQUENCE_OFFSET, tries, pause)
    values = zip(HEADER_CODES.items(), HEADER.unpack_from(copy, START.size), strict=True)
    return PoolNumbers(**{name: clamp(code, value) for (name, code), value in values})


def read_slot(view: memoryview, slots: int, index: int, room: int = 0) -> Slot:
    """Read one slot, whatever its stage; the master does so for a worker that has died, before it clears the slot."""
    return try_slot(view, slots, index, room)[0]


def try_slot(view: memoryview, slots: int, index: int, room: int = 0, tries: int = READ_TRIES) -> tuple[Slot, bool]:
    """Read one slot; returns also whether nobody has written there during the last of the tries."""
    offset = slot_offset(slots, index)
    copy, is_stable = _copy_stable(view[offset : offset + SLOT.size], tries=tries)
    numbers = zip(SLOT_CODES.items(), SLOT.unpack(copy)[1:], strict=True)
    values: dict[str, Any] = {name: clamp(code, value) for (name, code), value in numbers}
    if not is_stable:
        values |= dict.fromkeys(_TEXTS, "")
    if values["pid"] > PID_MAX:
        values["pid"] = 0
    values["max_active"] = min(values["max_active"], room or slots)
    values["task"], *later = values["task"].split("\n")
    stage = _STAGES[view[stages_offset() + index]]
    slot = Slot(index, stage, **values, later=tuple(filter(None, later[: values["waiting"]])))
    return slot, is_stable


def try_clocks(view: memoryview, slots: int, index: int, tries: int = READ_TRIES) -> tuple[Clocks, bool]:
    """Read of a slot only what limits are measured by; a part that is being written for ever gives what it has.

    Returns:
        Also whether nobody has written there during the last of the tries.
    """
    offset, is_stable = slot_offset(slots, index), False
    for _ in range(tries):
        before = _number_at(view, offset)
        requests, _, duration = REQUEST.unpack_from(view, offset + REQUEST_OFFSET)
        (began,), (freed,) = (_CLOCK.unpack_from(view, offset + at) for at in (BEGAN_OFFSET, FREED_OFFSET))
        is_stable = not before & 1 and _number_at(view, offset) == before
        if is_stable:
            break
    clocks = Clocks(clamp(COUNT, requests), clamp(COUNT, duration), clamp(TIME, began), clamp(TIME, freed))
    return clocks, is_stable


def copy_slot(view: memoryview, slots: int, index: int, tries: int = READ_TRIES) -> tuple[int, bytes, bool]:
    """Copy a slot as it is, for somebody who hands it on without a look at it.

    Returns:
        Its stage, the copy, and whether nobody has written there during the last of the tries; who reads the copy is
        told it, too.
    """
    stage, offset = view[stages_offset() + index], slot_offset(slots, index)
    copy, is_stable = _copy_stable(view[offset : offset + SLOT_SIZE], tries=tries)
    return stage, copy if is_stable else b"\1" + copy[1:], is_stable


def join_board(header: bytes, copied: list[tuple[int, bytes]]) -> bytes:
    """A scoreboard with just these slots, each with its stage, for `read_board`; `header` has HEADER_SIZE bytes."""
    room = slots_offset(len(copied)) - stages_offset()
    return b"".join([header, bytes([stage for stage, _ in copied]).ljust(room, b"\0"), *(slot for _, slot in copied)])


def _copy_stable(
    part: memoryview, counter: int = 0, tries: int = READ_TRIES, pause: Callable[[], None] | None = None
) -> tuple[bytes, bool]:
    """Copy until nobody has written meanwhile; at most `tries` times, after READ_TRIES of them with a pause between.

    A sequence counter (at `counter`) that is odd, or has moved, tells of a writer.
    """
    copy = b""
    for number in range(tries):
        sequence = _number_at(part, counter)
        copy = bytes(part)
        if not sequence & 1 and _number_at(part, counter) == sequence:
            return copy, True
        if pause is not None and number >= READ_TRIES:
            pause()
    return copy, False


def _number_at(data: memoryview | bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")


SLOTS_MAX = 65535
"""The slot count is 16 bits wide in the header."""
_MERGED = [(name, row.merge) for name, row in ROWS.items() if row.merge is not None]


_MERGES: list[Callable[[Sequence[int]], int]] = [*(merge for _, merge in _MERGED), sum]
NOTHING_MERGED = (0,) * len(_MERGES)


def absorb(numbers: PoolNumbers, slots: Sequence[Slot], now: float) -> None:
    """Add what these workers have counted to the numbers of their pool; `now` is epoch seconds."""
    absorb_counts(numbers, merge_counts([NOTHING_MERGED, *(slot_counts(slot, numbers, now) for slot in slots)]))


def slot_counts(slot: Slot, numbers: PoolNumbers, now: float) -> tuple[int, ...]:
    """Return what one worker has counted, in an order of its own; last, whether its request is slow."""
    return (*[getattr(slot, name) for name, _ in _MERGED], int(slot.is_slow(numbers, now)))


def merge_counts(several: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return what several have counted together."""
    return tuple([merge(column) for merge, column in zip(_MERGES, zip(*several, strict=True), strict=True)])


def take_counts(these: tuple[int, ...], others: tuple[int, ...]) -> tuple[int, ...]:
    """Return `these` without `others`, which are among them; a maximum stays."""
    columns = zip(_MERGES, these, others, strict=True)
    return tuple([mine - other if merge is sum else mine for merge, mine, other in columns])


def absorb_counts(numbers: PoolNumbers, counts: tuple[int, ...]) -> PoolNumbers:
    """Add them to the numbers of their pool, which are returned."""
    *merged, slow = counts
    for (name, merge), count in zip(_MERGED, merged, strict=True):
        setattr(numbers, name, min(merge([getattr(numbers, name), count]), COUNT_MAX))
    numbers.slow_requests = min(numbers.slow_requests + slow, COUNT_MAX)
    return numbers


def pack_header(numbers: PoolNumbers) -> bytes:
    """The header of HEADER_SIZE bytes; wake_below, slot count and sequence are 0."""
    values = [clamp(code, getattr(numbers, name)) for name, code in HEADER_CODES.items()]
    return (START.pack(MAGIC, 0, 0, SLOT_SIZE, 0) + HEADER.pack(*values)).ljust(HEADER_SIZE, b"\0")
