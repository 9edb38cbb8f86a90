"""What a status page costs, and the scoreboard for each request. The bounds are generous: the cores are shared."""

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

WORKERS = 1000
PAGE_TIME = 0.2
"""Seconds for a full page of a thousand workers."""
REQUEST_TIME = 60e-6
"""Seconds of CPU time that the shortest request takes in a worker, see bench/."""
SCOREBOARD_SHARE = 0.05


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    made = Scoreboard.create(2 * WORKERS)
    yield made
    made.close()


def best(action: Callable[[], object], times: int) -> float:
    """CPU seconds of the fastest of several runs."""
    found = []
    for _ in range(times):
        begin = time.thread_time()
        action()
        found.append(time.thread_time() - begin)
    return min(found)


@pytest.mark.parametrize("query", ["full", "full&json", "full&xml", "full&html"])
def test_a_full_page_of_a_thousand_workers(board: Scoreboard, query: str) -> None:
    for index in range(WORKERS):
        slot = SlotWriter(board, index, pid=1000 + index, started=time.time(), script="app:application")
        slot.begin(time.time(), "GET", f"/some/path/of/{index}", "and=its&query", 0, "")
        slot.set_stage(Stage.EXECUTING if index % 2 else Stage.ACCEPTING)
        slot.close()

    def page() -> bytes:
        reading = read_board(board.view, board.slots)
        now = time.time()
        status = build_status(pool="www", pm="static", board=reading, queue=ListenQueue(0, 0), now=now)
        return render_status(status, query).body

    assert page().count(b"app:application") == WORKERS
    assert best(page, 5) < PAGE_TIME


def test_the_html_page_of_a_thousand_workers() -> None:
    workers = tuple(overviews.worker(pid, request_uri=f"/some/path/of/{pid}?and=its&query") for pid in range(WORKERS))
    page = overviews.page(overviews.pool(workers=workers))
    assert best(lambda: render_pool(page), 5) < PAGE_TIME


def test_the_scoreboards_part_of_a_request(board: Scoreboard) -> None:
    slot = SlotWriter(board, 0, pid=1, started=time.time(), script="app:application")
    rounds = 2000

    def serve() -> None:
        for _ in range(rounds):
            slot.take()
            slot.stages[0] = Stage.INFO
            slot.begin(1.0, "GET", "/hello", "", 0, "")
            slot.stages[0] = Stage.EXECUTING
            slot.stages[0] = Stage.FINISHED
            slot.end(60, 50)
            slot.stages[0] = Stage.ACCEPTING

    assert best(serve, 10) / rounds < 2 * SCOREBOARD_SHARE * REQUEST_TIME
    slot.close()
