"""The functions of which is said that they have not begun."""

from __future__ import annotations

import pytest

from fpm.master.pool.death_report import name_task, name_undone
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.reading import read_slot
from fpm.scoreboard.snapshot import Slot
from fpm.scoreboard.writer import SlotWriter


def written(waiting: list[str], task: str = "shop.mail") -> Slot:
    board = Scoreboard.create(1)
    writer = SlotWriter(board, 0, pid=1, started=1.0, script="x")
    writer.background(waiting, 7.0, task)
    slot = read_slot(board.view, 1, 0)
    writer.close()
    board.close()
    return slot


@pytest.mark.parametrize(
    ("waiting", "text"),
    [
        ([], ""),
        (["a.b"], "a.b"),
        (["a.b", "c.d"], "a.b, c.d"),
        (["x" * 80, "y" * 80, "z" * 80, "a", "b"], f"{'x' * 80}, {'y' * 80}, {'z' * 20} and 2 more"),
        (["\x1b[31m"], r"\x1b[31m"),
    ],
)
def test_names_as_far_as_there_is_room(waiting: list[str], text: str) -> None:
    assert name_undone(written(waiting)) == text


def test_a_number_where_no_name_is_known() -> None:
    assert name_undone(written(["x"] * 2, "y" * 96)) == "x, x"
    long = written(["a"], "shop.\x07mail")
    assert (name_task(long), name_undone(long)) == (r"shop.\x07mail", "a")
