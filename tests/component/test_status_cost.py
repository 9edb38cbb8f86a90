"""What a status page costs for each worker, and the scoreboard for each request: in calls and steps, not in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.reading import read_board
from fpm.scoreboard.snapshot import ListenQueue
from fpm.scoreboard.stages import Stage
from fpm.scoreboard.writer import SlotWriter
from fpm.status.model import build_status
from fpm.status.pages import render_status
from fpm.status_server.html import render_pool
from tests.support import overviews
from tests.support.effort import count_calls, count_steps, grows_in_proportion

FEW, WORKERS = 100, 1000
CALLS = 400
"""For a worker, on a full page."""
STEPS = 300
"""Of the interpreter for the scoreboard's part of a request, of some 1,500."""


@pytest.fixture
def boards() -> Iterator[dict[int, Scoreboard]]:
    made = {count: Scoreboard.create(2 * count) for count in (FEW, WORKERS)}
    yield made
    for board in made.values():
        board.close()


def check_page(render: Callable[[int], object]) -> None:
    """A page may not cost more for each worker the more there are, nor much for one."""
    render(FEW)  # what is made once
    few, many = count_calls(lambda: render(FEW)), count_calls(lambda: render(WORKERS))
    assert many < 1.2 * few * WORKERS / FEW
    assert many < CALLS * WORKERS
    assert grows_in_proportion(render, FEW, WORKERS)


@pytest.mark.parametrize("query", ["full", "full&json", "full&xml", "full&html"])
def test_a_full_page_of_a_thousand_workers(boards: dict[int, Scoreboard], query: str) -> None:
    for count, board in boards.items():
        for index in range(count):
            slot = SlotWriter(board, index, pid=1000 + index, started=time.time(), script="app:application")
            slot.begin(time.time(), "GET", f"/some/path/of/{index}", "and=its&query", 0, "")
            slot.set_stage(Stage.EXECUTING if index % 2 else Stage.ACCEPTING)
            slot.close()

    def page(count: int) -> bytes:
        reading = read_board(boards[count].view, boards[count].slots)
        status = build_status(pool="www", pm="static", board=reading, queue=ListenQueue(0, 0), now=time.time())
        return render_status(status, query).body

    check_page(page)
    assert page(WORKERS).count(b"app:application") == WORKERS


def test_the_html_page_of_a_thousand_workers() -> None:
    def page(count: int) -> object:
        return render_pool(pages[count])

    pages = {}
    for count in (FEW, WORKERS):
        workers = [overviews.worker(pid, request_uri=f"/some/path/of/{pid}?and=its&query") for pid in range(count)]
        pages[count] = overviews.page(overviews.pool(workers=tuple(workers)))
    check_page(page)


def test_the_scoreboards_part_of_a_request(boards: dict[int, Scoreboard]) -> None:
    slot = SlotWriter(boards[FEW], 0, pid=1, started=time.time(), script="app:application")

    def serve() -> None:
        slot.take()
        slot.begin(1.0, "GET", "/hello", "", 0, "")
        slot.stages[0] = Stage.EXECUTING
        slot.end(60, 60)
        slot.counter.count_usual(60)
        slot.stages[0] = Stage.ACCEPTING

    try:
        assert count_steps(serve) < STEPS
    finally:
        slot.close()
