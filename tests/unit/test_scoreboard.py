"""The scoreboard's memory and its readings: what is written is read, and any bytes at all give sane values."""

from __future__ import annotations

import fcntl
import math
import os
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.master.pool.worker_slot import WorkerSlot
from fpm.scoreboard.layout import (
    HEADER_SIZE,
    SLOT,
    START,
    WAKE_BELOW,
    WAKE_BELOW_OFFSET,
    board_size,
    slot_offset,
    stages_offset,
)
from fpm.scoreboard.memory import Scoreboard, clear_slot, mark_creating, retire_slot, set_wake_below, write_header
from fpm.scoreboard.number import COUNT, COUNT_MAX, FLAG, TIME, TIME_MAX, UINT, codes_of
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.reading import (
    READ_TRIES,
    SLOTS_MAX,
    absorb,
    copy_slot,
    join_board,
    read_board,
    read_header,
    read_slot,
)
from fpm.scoreboard.snapshot import PID_MAX, Board
from fpm.scoreboard.stages import Stage

SLOTS = 3


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    made = Scoreboard.create(SLOTS)
    yield made
    made.close()


def write_slot(view: memoryview, index: int, stage: int, *values: object, slots: int = SLOTS) -> None:
    SLOT.pack_into(view, slot_offset(slots, index), 0, *values)
    view[stages_offset() + index] = stage


VALUES = (4711, 1751709600.5, 7, 1751709700.25, 1234, 900, 42, 5, 2097152, 2)
TEXTS = (b"GET", b"/a\xff b", b"q=1", 17.25, b"app:main", b"eve", 3, 4, 2, 1751709701.5, b"shop.mail", 18.5, 0, 19.5)


def test_written_slot_is_read_back(board: Scoreboard) -> None:
    write_slot(board.view, 1, Stage.EXECUTING, *VALUES, *TEXTS)
    slot = read_board(board.view, SLOTS).slots[1]
    assert slot is not None
    assert (slot.pid, slot.start_time, slot.requests, slot.request_start) == VALUES[:4]
    assert (slot.duration, slot.cpu, slot.content_length) == VALUES[4:7]
    assert (slot.memory_peak, slot.max_active) == VALUES[8:]
    assert (slot.slow_requests, slot.errors) == (VALUES[7], 3)
    assert (slot.index, slot.stage, slot.began, slot.freed, slot.sent) == (1, Stage.EXECUTING, 17.25, 18.5, 19.5)
    assert (slot.background_early, slot.waiting, slot.released, slot.task) == (4, 2, 1751709701.5, "shop.mail")
    assert (slot.method, slot.uri, slot.query, slot.script, slot.user) == ("GET", "/a\xff b", "q=1", "app:main", "eve")


def test_only_used_slots_are_on_the_board(board: Scoreboard) -> None:
    write_slot(board.view, 2, Stage.ACCEPTING, *VALUES, *TEXTS)
    reading = read_board(board.view, SLOTS)
    assert reading.slots[:2] == (None, None)
    assert [slot.index for slot in reading.used] == [2]


counts = st.integers(0, COUNT_MAX)
times = st.floats(0.0, TIME_MAX)


OF_CODE = {COUNT: counts, UINT: st.integers(0, 2**32 - 1), TIME: times, FLAG: st.booleans()}


@given(st.builds(PoolNumbers, **{name: OF_CODE[code] for name, code in codes_of(PoolNumbers).items()}))
def test_header_is_read_as_written(values: PoolNumbers) -> None:
    view = memoryview(bytearray(board_size(SLOTS)))
    write_header(view, values)
    assert read_header(view) == values


def test_header_leaves_wake_below_alone(board: Scoreboard) -> None:
    set_wake_below(board.view, 5)
    write_header(board.view, PoolNumbers(generation=9))
    assert WAKE_BELOW.unpack_from(board.view, WAKE_BELOW_OFFSET) == (5,)
    assert START.unpack_from(board.view, 0)[2] == SLOTS
    set_wake_below(board.view, 10**6)
    assert WAKE_BELOW.unpack_from(board.view, WAKE_BELOW_OFFSET) == (65535,)


def test_life_of_a_slot(board: Scoreboard) -> None:
    write_slot(board.view, 0, Stage.EXECUTING, *VALUES, *TEXTS)
    clear_slot(board.view, SLOTS, 0)
    assert read_board(board.view, SLOTS).used == []
    assert read_slot(board.view, SLOTS, 0).pid == 0
    mark_creating(board.view, SLOTS, 0)
    made = read_board(board.view, SLOTS).slots[0]
    assert made is not None
    assert (made.stage, made.pid, made.uri, made.requests) == (Stage.CREATING, 0, "", 0)


def test_clearing_repairs_a_slot_whose_writer_died_in_the_middle(board: Scoreboard) -> None:
    write_slot(board.view, 0, Stage.EXECUTING, *VALUES, *TEXTS)
    board.view[slot_offset(SLOTS, 0)] = 0xFF
    mark_creating(board.view, SLOTS, 0)
    assert int.from_bytes(board.view[slot_offset(SLOTS, 0) :][:4], "little") % 2 == 0


def test_texts_that_are_still_being_written_are_not_shown(board: Scoreboard) -> None:
    write_slot(board.view, 0, Stage.EXECUTING, *VALUES, *TEXTS)
    board.view[slot_offset(SLOTS, 0)] = 1
    slot = read_slot(board.view, SLOTS, 0)
    assert slot.pid == VALUES[0]
    assert (slot.method, slot.uri, slot.query, slot.script, slot.user, slot.task) == ("", "", "", "", "", "")


def copy_all(view: memoryview) -> list[tuple[int, bytes]]:
    return [(stage, data) for stage, data, _ in (copy_slot(view, SLOTS, index) for index in range(SLOTS)) if stage]


def test_a_slot_that_was_torn_is_tried_once(board: Scoreboard) -> None:
    """And as often as any other again when it could be read whole."""
    slot = WorkerSlot(board, 1)
    write_slot(board.view, 1, Stage.EXECUTING, *VALUES, *TEXTS)
    for read in (slot.read, slot.read_clocks, slot.copy):
        for counter, tries in ((1, 1), (1, 1), (2, READ_TRIES)):
            board.view[slot_offset(SLOTS, 1)] = counter
            read()
            assert slot.tries == tries


def test_a_copy_reads_like_the_scoreboard(board: Scoreboard) -> None:
    write_header(board.view, PoolNumbers(generation=4, requests=9))
    write_slot(board.view, 0, Stage.EXECUTING, *VALUES, *TEXTS)
    write_slot(board.view, 2, Stage.ACCEPTING, *VALUES, *TEXTS)
    copied = copy_all(board.view)
    data = join_board(bytes(board.view[:HEADER_SIZE]), copied)
    used = len(copied)
    copy = read_board(memoryview(data), used)
    assert copy.header == read_header(board.view)
    assert [(slot.stage, slot.uri, slot.requests) for slot in copy.used] == [
        (slot.stage, slot.uri, slot.requests) for slot in read_board(board.view, SLOTS).used
    ]


def test_a_copy_of_a_slot_that_is_being_written_has_no_texts(board: Scoreboard) -> None:
    write_slot(board.view, 1, Stage.EXECUTING, *VALUES, *TEXTS)
    board.view[slot_offset(SLOTS, 1)] = 7
    copied = copy_all(board.view)
    data = join_board(bytes(board.view[:HEADER_SIZE]), copied)
    used = len(copied)
    (slot,) = read_board(memoryview(data), used).used
    assert (slot.pid, slot.uri) == (VALUES[0], "")


def test_a_dead_worker_goes_from_its_slot_to_the_header(board: Scoreboard) -> None:
    write_slot(board.view, 1, Stage.EXECUTING, *VALUES, *TEXTS)
    values = PoolNumbers(requests=3)
    retire_slot(board.view, SLOTS, 1, values, 0.0)
    reading = read_board(board.view, SLOTS)
    assert reading.used == []
    header = reading.header
    assert (header.requests, header.slow_requests, header.errors, header.background_early) == (10, 5, 3, 4)


def test_a_worker_killed_in_a_slow_request_has_had_one_more(board: Scoreboard) -> None:
    running = (*VALUES[:4], 0, *VALUES[5:])
    began = VALUES[3]
    for stage, released, tracked, slow in (
        (Stage.EXECUTING, 0.0, False, 6),
        (Stage.FINISHED, began + 0.1, False, 5),
        (Stage.FINISHED, began + 0.1, True, 6),
        (Stage.FINISHED, began + 1.1, True, 5),
    ):
        write_slot(board.view, 1, stage, *running, *TEXTS[:9], released, *TEXTS[10:])
        values = PoolNumbers(slow_limit=1_000_000, tracks_finished=tracked)
        retire_slot(board.view, SLOTS, 1, values, VALUES[3] + 1.5)
        assert values.slow_requests == slow


def test_a_dead_worker_is_remembered(board: Scoreboard) -> None:
    write_slot(board.view, 0, Stage.FREE, *VALUES, *TEXTS)
    values = PoolNumbers(requests=3, max_active=1, memory_peak=2**30)
    absorb(values, [read_slot(board.view, SLOTS, 0)], 0.0)
    assert (values.requests, values.max_active, values.memory_peak) == (10, 2, 2**30)


def assert_sane(board: Board) -> None:
    for slot in board.used:
        assert isinstance(slot.stage, Stage)
        assert slot.stage is not Stage.FREE
        assert 0 <= slot.pid <= PID_MAX
        for count in (slot.requests, slot.duration, slot.cpu, slot.content_length, slot.memory_peak):
            assert 0 <= count <= COUNT_MAX
        assert 0 <= slot.max_active <= SLOTS
        for moment in (slot.start_time, slot.request_start, slot.released):
            assert math.isfinite(moment)
            assert 0.0 <= moment <= TIME_MAX
        for text in (slot.method, slot.uri, slot.query, slot.script, slot.user, slot.task):
            assert "\0" not in text
            assert all(ord(character) < 256 for character in text)


USED_BYTES = slot_offset(SLOTS, SLOTS)


@given(st.integers(0, 2**32), st.sampled_from([0x00, 0x7F, 0x80, 0xFE, 0xFF, None]))
@settings(max_examples=100)
def test_any_bytes_give_sane_values(seed: int, fill: int | None) -> None:
    data = random.Random(seed).randbytes(USED_BYTES) if fill is None else bytes([fill]) * USED_BYTES
    view = memoryview(bytearray(data.ljust(board_size(SLOTS), b"\0")))
    for index in range(SLOTS):
        view[stages_offset() + index] = seed >> (8 * index) & 0xFF
    reading = read_board(view, SLOTS)
    assert_sane(reading)
    copied = copy_all(view)
    data = join_board(bytes(view[:HEADER_SIZE]), copied)
    used = len(copied)
    assert_sane(read_board(memoryview(data), used))
    values = PoolNumbers()
    for slot in reading.used:
        absorb(values, [slot], 2e9)
    write_header(view, values)


def test_a_pool_process_cannot_shrink_the_memory(board: Scoreboard) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(board.fd, 0)
    assert fcntl.fcntl(board.fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_attached_memory_is_the_same(board: Scoreboard) -> None:
    other = Scoreboard.attach(board.fd, SLOTS)
    other.stages[1] = Stage.EXECUTING
    assert board.stages[1] == Stage.EXECUTING
    other.close()
    assert fcntl.fcntl(board.fd, fcntl.F_GETFD) >= 0


def test_what_is_no_scoreboard_is_refused() -> None:
    fd = os.memfd_create("other")
    try:
        with pytest.raises(ValueError):  # noqa: PT011 (mmap's own text)
            Scoreboard.attach(fd, SLOTS)
        os.ftruncate(fd, board_size(SLOTS))
        with pytest.raises(ValueError, match="is not a scoreboard"):
            Scoreboard.attach(fd, SLOTS)
    finally:
        os.close(fd)


@pytest.mark.parametrize("slots", [0, -1, SLOTS_MAX + 1])
def test_slot_counts_that_cannot_be(slots: int) -> None:
    with pytest.raises(ValueError, match="slots"):
        Scoreboard.create(slots)
