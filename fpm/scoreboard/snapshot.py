"""The scoreboard as values: what the status page, the process manager and the deadlines look at.

Everything read here is untrusted, for any process of the pool can write any byte: numbers are clamped to what can be
true, times that are no times become 0.0, an unknown stage is a free slot, and no input raises. A reader never waits for
a writer; a part that is still being written after READ_TRIES tries keeps its numbers and loses its texts. Pure.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from fpm.scoreboard.layout import (
    BEGAN_OFFSET,
    FLAG_TRACKS_FINISHED,
    FREED_OFFSET,
    HEADER,
    HEADER_SEQUENCE_OFFSET,
    REQUEST,
    REQUEST_OFFSET,
    SLOT,
    SLOT_SIZE,
    slot_offset,
    slots_offset,
    stages_offset,
)
from fpm.scoreboard.stages import Stage

READ_TRIES = 50
HEADER_TRIES = 5000
"""The master moves what a dead worker has counted while the header is open; it may lose the processor in the middle."""
PAUSES = 200
"""Pauses, of a millisecond, in which a reader waits for a master that has lost the processor."""
BOARD_TRIES = 50
"""Deaths of workers in the middle of a reading that are waited out."""
COUNT_MAX = 2**53 - 1
"""The largest whole number that every JSON reader keeps exact."""
TIME_MAX = 253402300799.0
"""The last second of the year 9999, the last that calendars of the standard library know."""
PID_MAX = 2**22
"""The kernel's own bound, PID_MAX_LIMIT; see proc(5)."""

_STAGES = [Stage(value) if value in Stage.__members__.values() else Stage.FREE for value in range(256)]
_CLOCK = struct.Struct("<d")
_CREATING = bytes([Stage.CREATING])
_ACCEPTING = bytes([Stage.ACCEPTING])
_BUSY = [bytes([stage]) for stage in Stage if stage > Stage.ACCEPTING]


@dataclass(slots=True)
class Header:
    """What the master knows of a pool beyond its living workers; it keeps one for each pool, and writes it.

    The counters are sums and maxima over workers that are gone, and what only the master sees.
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
    """Workers that left at pm.max_requests."""
    deaths_by_exit: int = 0
    deaths_by_signal: int = 0
    deaths_by_kill: int = 0
    deaths_by_timeout: int = 0
    slow_limit: int = 0
    """Microseconds from which a request is slow; 0: none is."""
    last_death: float = 0.0
    """This and the three below are epoch seconds; 0.0: never."""
    last_reload: float = 0.0
    failed_since: float = 0.0
    next_start: float = 0.0
    last_death_status: int = 0
    """Wait status."""
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
    """Workers that left at pm.max_memory."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One worker and its current request, or its last one when it is idle."""

    index: int
    stage: Stage
    pid: int
    """0 while it is not known."""
    start_time: float
    """Epoch seconds."""
    requests: int
    request_start: float
    """Epoch seconds; 0.0 before the first request."""
    duration: int
    """Microseconds; 0 while the request runs."""
    cpu: int
    """Microseconds of CPU time of the last request."""
    content_length: int
    memory_peak: int
    """Bytes."""
    max_active: int
    """The most busy workers that this one has counted when it took a request."""
    method: str
    uri: str
    """The path without the query; bytes as latin-1, like all texts here."""
    query: str
    script: str
    user: str
    slow: int = 0
    """Requests that took longer than the header's slow_limit; the one in hand is not among them."""
    errors: int = 0
    background_early: int = 0
    """Requests whose work after the response ran before it (pm.background_max)."""
    waiting: int = 0
    """Functions for after the response that have not begun yet."""
    released: float = 0.0
    """When the response was complete, epoch seconds, while the worker goes on with the request; 0.0 otherwise."""
    task: str = ""
    """The name of the function that runs after the response."""
    later: tuple[str, ...] = ()
    """The names of those that wait; the first ones, and the last may be cut."""
    began: float = 0.0
    """The request's start once more, monotonic seconds: for deadlines, as nobody can set this clock."""
    freed: float = 0.0
    """`released` once more, monotonic seconds."""

    def is_slow(self, header: Header, now: float) -> bool:
        """Has the request in hand taken longer than its pool's limit at `now` (epoch seconds)?

        One that was over it at its response is not counted here: its worker has done that.
        """
        limit = header.slow_limit / 1e6
        if not limit or self.stage <= Stage.ACCEPTING or self.request_start <= 0.0 or self.duration:
            return False
        tracked = header.flags & FLAG_TRACKS_FINISHED and self.released - self.request_start <= limit
        return now - self.request_start > limit and bool(tracked or not self.released)


class Clocks(NamedTuple):
    """Of a slot, what limits are measured by; the attributes are those of Slot."""

    requests: int
    duration: int
    began: float
    freed: float


@dataclass(frozen=True, slots=True)
class Board:
    """One reading of a whole scoreboard; `slots[i]` is None where slot i has no worker."""

    header: Header
    slots: tuple[Slot | None, ...]

    @property
    def used(self) -> list[Slot]:
        """The slots that have a worker, in order."""
        return [slot for slot in self.slots if slot is not None]


@dataclass(frozen=True, slots=True)
class ListenQueue:
    """Connections that the kernel holds for a listening socket, and how many it holds at most; 0, 0: not known."""

    length: int
    maximum: int


@dataclass(frozen=True, slots=True)
class Census:
    """How many workers are in which state; `active` are those with a request, not the ones being made."""

    idle: int
    active: int
    creating: int

    @property
    def total(self) -> int:
        """All workers."""
        return self.idle + self.active + self.creating


def census(view: memoryview, slots: int) -> Census:
    """Count the workers by their stage bytes alone."""
    stages = bytes(view[stages_offset() : stages_offset() + slots])
    active = sum(map(stages.count, _BUSY))
    return Census(idle=stages.count(_ACCEPTING), active=active, creating=stages.count(_CREATING))


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


def copy_slots(view: memoryview, slots: int) -> list[tuple[int, bytes]]:
    """The slots in use as they are, each with its stage, for somebody who hands them on without a look at them."""
    stages = bytes(view[stages_offset() : stages_offset() + slots])
    if stages.count(0) == slots:
        return []
    return [(stage, _copy_slot(view, slot_offset(slots, index))) for index, stage in enumerate(stages) if stage]


def join_board(header: bytes, copied: list[tuple[int, bytes]]) -> bytes:
    """A scoreboard with just these slots, for `read_board`; `header` has HEADER_SIZE bytes."""
    room = slots_offset(len(copied)) - stages_offset()
    return b"".join([header, bytes([stage for stage, _ in copied]).ljust(room, b"\0"), *(slot for _, slot in copied)])


def _copy_slot(view: memoryview, offset: int) -> bytes:
    for _ in range(READ_TRIES):
        copy = bytes(view[offset : offset + SLOT_SIZE])
        if not copy[0] & 1 and view[offset : offset + 4] == copy[:4]:
            return copy
    return b"\1" + copy[1:]  # whoever reads the copy is told that it is not whole


def read_header(view: memoryview, pause: Callable[[], None] | None = None) -> Header:
    """Read the header alone."""
    values, _ = _read_stable(
        lambda: HEADER.unpack_from(view, 0),
        _header_sequence,
        view,
        HEADER_SEQUENCE_OFFSET,
        tries=HEADER_TRIES if pause is None else READ_TRIES + PAUSES,
        pause=pause,
    )
    _magic, _wake, _count, _size, _sequence, generation, max_children, start_time, *rest = values
    counters, times, numbers = map(_count_of, rest[:13]), map(_time_of, rest[13:17]), rest[17:23]
    early, *more = rest[23:]
    first = [generation, max_children, _time_of(start_time)]
    in_order: list[Any] = [*first, *counters, *times, *numbers, _count_of(early), *more]
    return Header(*in_order)


def read_slot(view: memoryview, slots: int, index: int, room: int = 0) -> Slot:
    """Read one slot, whatever its stage; the master does so for a worker that has died, before it clears the slot."""
    offset = slot_offset(slots, index)
    values, stable = _read_stable(lambda: SLOT.unpack_from(view, offset), _slot_sequence, view, offset)
    _sequence, pid, start_time, requests, request_start, duration, cpu, length, slow, memory, active, *rest = values
    *texts, errors, early, waiting, released, task, freed, _interrupt = rest
    began = texts.pop(3)
    method, uri, query, script, user, names = (_text_of(text) if stable else "" for text in (*texts, task))
    task, *later = names.split("\n")
    return Slot(
        index=index,
        stage=_STAGES[view[stages_offset() + index]],
        pid=pid if pid <= PID_MAX else 0,
        start_time=_time_of(start_time),
        requests=_count_of(requests),
        request_start=_time_of(request_start),
        duration=_count_of(duration),
        cpu=_count_of(cpu),
        content_length=_count_of(length),
        memory_peak=_count_of(memory),
        max_active=min(active, room or slots),
        method=method,
        uri=uri,
        query=query,
        script=script,
        user=user,
        slow=slow,
        errors=errors,
        background_early=early,
        waiting=waiting,
        released=_time_of(released),
        task=task,
        later=tuple(filter(None, later[:waiting])),
        began=_time_of(began),
        freed=_time_of(freed),
    )


def read_clocks(view: memoryview, slots: int, index: int) -> Clocks:
    """Read of a slot only what limits are measured by; a part that is being written for ever gives what it has."""
    offset = slot_offset(slots, index)
    for _ in range(READ_TRIES):
        before = _number_at(view, offset)
        requests, _, duration = REQUEST.unpack_from(view, offset + REQUEST_OFFSET)
        (began,), (freed,) = (
            _CLOCK.unpack_from(view, offset + BEGAN_OFFSET),
            _CLOCK.unpack_from(view, offset + FREED_OFFSET),
        )
        if not before & 1 and _number_at(view, offset) == before:
            break
    return Clocks(_count_of(requests), _count_of(duration), _time_of(began), _time_of(freed))


def _header_sequence(values: tuple[Any, ...]) -> int:
    sequence: int = values[4]
    return sequence


def _slot_sequence(values: tuple[Any, ...]) -> int:
    sequence: int = values[0]
    return sequence


def _read_stable(
    read: Callable[[], tuple[Any, ...]],
    sequence_of: Callable[[tuple[Any, ...]], int],
    view: memoryview,
    offset: int,
    *,
    tries: int = READ_TRIES,
    pause: Callable[[], None] | None = None,
) -> tuple[tuple[Any, ...], bool]:
    """Read until nobody has written meanwhile; at most `tries` times, after READ_TRIES of them with a pause between.

    The copy holds the counter as it was at its beginning, and the counter is read again after it. A counter that is
    odd, or has moved, tells of a writer.
    """
    values = read()
    for number in range(tries):
        sequence = sequence_of(values)
        if not sequence & 1 and _number_at(view, offset) == sequence:
            return values, True
        if pause is not None and number >= READ_TRIES:
            pause()
        values = read()
    return values, False


def _number_at(view: memoryview, offset: int) -> int:
    return int.from_bytes(view[offset : offset + 4], "little")


def _count_of(value: int) -> int:
    return min(value, COUNT_MAX)


def _time_of(value: float) -> float:
    return min(value, TIME_MAX) if math.isfinite(value) and value > 0.0 else 0.0


def _text_of(value: bytes) -> str:
    return value.partition(b"\0")[0].decode("latin-1")
