"""The slot as its writer sees it against the layout that readers use."""

from __future__ import annotations

import struct
import time

from hypothesis import given
from hypothesis import strategies as st

from fpm.scoreboard import writer as writing
from fpm.scoreboard.layout import SLOT, slot_offset
from fpm.scoreboard.memory import Scoreboard, is_interrupt_wanted, want_interrupt
from fpm.scoreboard.reading import read_board
from fpm.scoreboard.stages import Stage
from fpm.scoreboard.writer import SlotWriter

LATIN = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=600)


def test_the_groups_of_fields_cover_the_slot():
    groups = [
        (4, writing.IDENTITY_OFFSET),
        (writing.IDENTITY_OFFSET + writing.IDENTITY.size, writing.BEGIN_OFFSET),
        (writing.BEGIN_OFFSET + writing.BEGIN.size, writing.SCRIPT_OFFSET),
        (writing.SCRIPT_OFFSET + writing.SCRIPT.size, writing.USER_OFFSET),
        (writing.USER_OFFSET + writing.USER.size, writing.ERRORS_OFFSET),
        (writing.BACKGROUND_OFFSET + writing.BACKGROUND.size, writing.INTERRUPT_OFFSET),
        (struct.calcsize("<IIdQd"), writing.DONE_OFFSET),
        (struct.calcsize("<IIdQdQQQI"), writing.MEMORY_OFFSET),
    ]
    for expected, offset in groups:
        assert offset == expected
    assert struct.calcsize("<IIdQdQQQ") == writing.SLOW_OFFSET
    assert writing.USER_OFFSET + writing.USER.size == writing.ERRORS_OFFSET
    assert writing.ERRORS_OFFSET + 4 == writing.EARLY_OFFSET
    assert writing.EARLY_OFFSET + 4 == writing.BACKGROUND_OFFSET
    assert SLOT.size == writing.INTERRUPT_OFFSET + writing.INTERRUPT.size + writing.SENT.size
    assert SLOT.size == writing.SENT_OFFSET + writing.SENT.size


@given(method=LATIN, uri=LATIN, query=LATIN, user=LATIN, length=st.integers(0, 2**40))
def test_a_reader_reads_what_was_written(method, uri, query, user, length):
    board = Scoreboard.create(3)
    try:
        slot = SlotWriter(board, 1, pid=77, started=5.0, script="app:äpp")
        slot.set_stage(Stage.ACCEPTING)
        slot.take()
        slot.begin(12.5, method, uri, query, length, user, 3.75)
        slot.end(1234, 567)
        slot.write_memory(4096)
        read = read_board(board.view, 3).slots[1]
        assert (read.pid, read.start_time, read.requests, read.request_start) == (77, 5.0, 1, 12.5)
        assert read.began == 3.75
        assert (read.duration, read.cpu, read.content_length, read.memory_peak) == (1234, 567, length, 4096)
        assert (read.method, read.uri, read.query) == (method[:16], uri[:512], query[:512])
        assert (read.user, read.max_active, read.stage) == (user[:32], 1, Stage.READING_HEADERS)
    finally:
        slot.close()
        board.close()


def test_the_counter_is_even_between_writes_and_goes_on_from_the_last_owner():
    board = Scoreboard.create(1)
    board.view[slot_offset(1, 0)] = 7
    slot = SlotWriter(board, 0, pid=1, started=1.0, script="x")
    seen = []
    for _ in range(3):
        seen.append(int.from_bytes(board.view[slot_offset(1, 0) :][:4], "little"))
        slot.begin(1.0, "GET", "/", "", 0, "")
        slot.end(1, 1)
    assert seen == sorted(seen)
    assert all(count % 2 == 0 and count > 6 for count in seen)
    slot.close()
    board.close()


def test_a_user_of_an_earlier_request_does_not_stay():
    board = Scoreboard.create(1)
    slot = SlotWriter(board, 0, pid=1, started=1.0, script="x")
    slot.set_stage(Stage.ACCEPTING)
    for user in ("me", ""):
        slot.begin(1.0, "GET", "/", "", 0, user)
        assert read_board(board.view, 1).slots[0].user == user
    slot.close()
    board.close()


def test_work_after_the_response():
    board = Scoreboard.create(1)
    slot = SlotWriter(board, 0, pid=1, started=1.0, script="x")
    slot.set_stage(Stage.FINISHED)
    started = time.monotonic()
    freed = started + 60
    for task, shown in (("shop.mail", "shop.mail"), ("x" * 200 + "é" * 48, "é" * 48), ("x" + "é" * 49, "é" * 48)):
        slot.background(["a.b", "c.d", "e" * 200], 7.5, task)
        read = read_board(board.view, 1).slots[0]
        assert (read.waiting, read.released, read.task) == (3, 7.5, shown.encode().decode("latin-1"))
        assert (read.later[:2], set(read.later[2])) == (("a.b", "c.d"), {"e"})
        assert started <= read.freed <= freed
        freed = read.freed  # the same response, whatever runs after it
    slot.count_early()
    slot.background([], 0.0, "")
    read = read_board(board.view, 1).slots[0]
    assert (read.waiting, read.released, read.task, read.background_early, read.freed) == (0, 0.0, "", 1, 0.0)
    slot.close()
    board.close()


def test_wake_and_peak():
    board = Scoreboard.create(4)
    writers = [SlotWriter(board, index, pid=1, started=1.0, script="x") for index in range(3)]
    for writer in writers:
        writer.set_stage(Stage.ACCEPTING)
    assert not writers[0].take(), "not armed"
    board.view[8] = 2
    assert writers[1].take(), "one idle is below two"
    assert writers[0].others_idle()
    writers[2].set_stage(Stage.CREATING)
    assert not writers[0].others_idle()
    writers[1].begin(1.0, "GET", "/", "", 0, "")
    assert read_board(board.view, 4).slots[1].max_active == 2
    for writer in writers:
        writer.close()
    board.close()


def test_the_peak_is_seen_although_as_many_are_idle_as_before():
    """A pool has grown since its worker's last request, and all others are busy, as nobody else was then."""
    board = Scoreboard.create(3)
    slot = SlotWriter(board, 0, pid=1, started=1.0, script="x")
    for others, peak in ((Stage.FREE, 1), (Stage.EXECUTING, 3)):
        slot.set_stage(Stage.ACCEPTING)
        board.stages[1] = board.stages[2] = others
        slot.take()
        slot.begin(1.0, "GET", "/", "", 0, "")
        assert read_board(board.view, 3).slots[0].max_active == peak
    slot.close()
    board.close()


def test_an_interrupt_is_for_one_request():
    board = Scoreboard.create(2)
    slot = SlotWriter(board, 1, pid=1, started=1.0, script="x")
    assert not slot.take()
    assert not slot.is_interrupt_wanted()
    want_interrupt(board.view, 2, 1, 1)
    assert slot.is_interrupt_wanted()
    slot.begin(1.0, "GET", "/", "", 0, "")
    assert slot.is_interrupt_wanted()
    assert is_interrupt_wanted(board.view, 2, 1, 1)
    slot.take()
    assert not slot.is_interrupt_wanted()
    want_interrupt(board.view, 2, 1, 2)
    slot.take_interrupt()
    assert not slot.is_interrupt_wanted()
    assert not is_interrupt_wanted(board.view, 2, 1, 2)
    slot.close()
    board.close()
