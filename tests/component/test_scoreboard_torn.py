"""A worker that loses the processor in the middle of writing its slot: whoever looks then finds no nonsense."""

from __future__ import annotations

import os
import signal
import time

from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.reading import read_slot
from fpm.scoreboard.writer import SlotWriter
from tests.support.waiting import wait_until

STOPS = 150


def write_for_ever(board: Scoreboard) -> None:
    writer = SlotWriter(board, 0, pid=os.getpid(), started=time.time(), script="app")
    for number in range(100_000_000):
        writer.requests = number
        writer.begin(time.time(), "GET", "/a", "b=c", 0, "")
    os._exit(0)


def test_a_writer_that_is_stopped_in_the_middle_has_not_served_less() -> None:
    board = Scoreboard.create(1)
    pid = os.fork()
    if pid == 0:
        write_for_ever(board)
    before, open_ = 0, 0
    try:
        for _ in range(STOPS):
            wait_until(lambda before=before: read_slot(board.view, 1, 0).requests > before + 20)
            os.kill(pid, signal.SIGSTOP)
            os.waitpid(pid, os.WUNTRACED)
            slot = read_slot(board.view, 1, 0)
            open_ += not slot.method  # the texts are left out where the writer was in the middle
            assert slot.requests >= before
            before = slot.requests
            os.kill(pid, signal.SIGCONT)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        board.close()
    assert before > 0
    assert open_ > 0, "never stopped in the middle, so nothing was tested"
