"""What looking costs. The bounds are generous: other tests run beside these on the same two cores."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Iterator

import psutil
import pytest

from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.snapshot import ListenQueue
from fpm.scoreboard.snapshot import read_board
from fpm.scoreboard.stages import Stage
from fpm.scoreboard.writer import SlotWriter
from fpm.status.extras import build_extras
from fpm.status.model import build_status
from fpm.status.pages import render_status
from tests.support.fpm import Daemon
from tests.support.looking import fetch
from tests.support.looking import read_metrics
from tests.support.pools import free_port
from tests.support.waiting import wait_until

WORKERS = 1000
PAGE_TIME = 0.05
"""Seconds for a full page of a thousand workers."""
SCRAPE_SHARE = 0.05
"""Of a core, for the master, with a scrape of a thousand pools each second."""
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
        return render_status(status, query, build_extras(reading, now)).body

    assert page().count(b"app:application") == WORKERS
    assert best(page, 5) < PAGE_TIME


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


def test_a_scrape_each_second_of_a_thousand_pools(daemon: Callable[..., Daemon]) -> None:
    port = free_port()
    pools = {f"site{number}": {"pm": "ondemand", "pm.max_children": 5} for number in range(WORKERS)}
    fpm = daemon(pools, global_={"status_listen": f"127.0.0.1:{port}", "systemd_interval": 0})
    assert fpm.get("site7").status == 200
    metrics = read_metrics(fetch(port, "/metrics").body)
    assert metrics["pyfpm_requests_total", "site7"] == 1
    assert len({pool for _, pool, *_ in (key for key in metrics if len(key) > 1)}) >= WORKERS
    master = psutil.Process(fpm.pid)
    before, begin, scrapes = master.cpu_times(), time.monotonic(), 6
    for number in range(scrapes):
        assert fetch(port, "/metrics").status == 200
        wait_until(lambda number=number: time.monotonic() - begin > number + 1)
    after, passed = master.cpu_times(), time.monotonic() - begin
    share = (after.user + after.system - before.user - before.system) / passed
    assert share < SCRAPE_SHARE
    # Somebody who asks all the time gets the same snapshot for a while.
    before, begin, answers = master.cpu_times(), time.monotonic(), 0
    while time.monotonic() - begin < 3:
        assert fetch(port, "/readyz").status == 200
        answers += 1
    after, passed = master.cpu_times(), time.monotonic() - begin
    assert answers > 10
    assert (after.user + after.system - before.user - before.system) / passed < 2 * SCRAPE_SHARE
