"""The status page's numbers, drawn from boards, hostile ones among them."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fpm.scoreboard.layout import board_size, stages_offset
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.reading import read_board
from fpm.scoreboard.snapshot import Board, ListenQueue, Slot
from fpm.scoreboard.stages import Stage
from fpm.status.model import PoolStatus, build_status
from fpm.status.pages import render_status

NOW = 2000.5
QUEUE = ListenQueue(0, 128)
HEADER = PoolNumbers(
    generation=7,
    max_children=5,
    start_time=1000.25,
    requests=10,
    max_children_reached=3,
    slow_requests=4,
    max_active=2,
    max_listen_queue=6,
    memory_peak=1000,
)
SLOT = Slot(
    index=0,
    stage=Stage.ACCEPTING,
    pid=11,
    start_time=1500.0,
    requests=5,
    request_start=1999.0,
    duration=200_000,
    cpu=50_000,
    content_length=9,
    memory_peak=900,
    max_active=1,
    method="GET",
    uri="/\xc3\xa4\xff",
    query="x=1",
    script="app:main",
    user="",
)


def slot(stage: Stage, **values: object) -> Slot:
    fields = {name: getattr(SLOT, name) for name in Slot.__slots__} | {"stage": stage} | values
    return Slot(**fields)


def build(*slots: Slot | None, queue: ListenQueue = QUEUE) -> PoolStatus:
    return build_status(pool="www", pm="dynamic", board=Board(HEADER, slots), queue=queue, now=NOW)


def test_pool_numbers() -> None:
    status = build(SLOT, None, slot(Stage.EXECUTING, requests=1, memory_peak=5000), queue=ListenQueue(9, 128))
    assert (status.pool, status.process_manager) == ("www", "dynamic")
    assert (status.numbers.start_time, status.numbers.start_since) == (1000, 1000)
    assert status.numbers.requests == 10 + 5 + 1
    assert (status.numbers.listen_queue, status.numbers.max_listen_queue, status.numbers.listen_queue_len) == (
        9,
        9,
        128,
    )
    assert (status.numbers.idle, status.numbers.active, status.numbers.total) == (1, 1, 2)
    assert (status.numbers.max_active, status.numbers.max_children_reached, status.numbers.slow_requests) == (2, 3, 4)
    assert status.numbers.memory_peak == 5000
    assert build().numbers.max_listen_queue == 6


def test_only_accepting_is_idle_and_the_sum_is_the_total() -> None:
    status = build(*(slot(stage) for stage in Stage if stage is not Stage.FREE))
    assert (status.numbers.idle, status.numbers.active, status.numbers.total) == (1, 8, 9)
    assert len(status.processes) == 9
    assert status.numbers.max_active == 7, "a worker being made has never been busy"
    texts = [one.state for one in status.processes]
    assert texts[-2:] == ["Running", "Running"], "monitors know PHP-FPM's words only"


def test_idle_worker_shows_its_last_request() -> None:
    (shown,) = build(SLOT).processes
    assert (shown.pid, shown.state, shown.requests, shown.content_length) == (11, "Idle", 5, 9)
    assert (shown.start_time, shown.start_since) == (1500, 500)
    assert shown.request_duration == 200_000
    assert (shown.last_request_cpu, shown.last_request_memory) == (25.0, 900)
    assert (shown.request_method, shown.request_uri) == ("GET", "/äÿ?x=1")
    assert (shown.script, shown.user) == ("app:main", "-")


def test_busy_worker_shows_the_request_in_hand() -> None:
    (shown,) = build(slot(Stage.EXECUTING)).processes
    assert (shown.state, shown.request_duration) == ("Running", 1_500_000)
    assert (shown.last_request_cpu, shown.last_request_memory) == (0.0, 0)


def test_worker_without_a_request() -> None:
    nothing = {"requests": 0, "request_start": 0.0, "duration": 0, "cpu": 0, "method": "", "uri": "", "query": ""}
    (shown,) = build(slot(Stage.CREATING, pid=0, start_time=0.0, **nothing)).processes
    assert (shown.state, shown.start_time, shown.start_since, shown.request_duration) == ("Creating", 2000, 0, 0)
    assert (shown.request_method, shown.request_uri) == ("-", "-")
    (shown,) = build(slot(Stage.ACCEPTING, **nothing)).processes
    assert (shown.request_duration, shown.last_request_cpu) == (0, 0.0)


def test_clock_that_went_back() -> None:
    (shown,) = build(slot(Stage.EXECUTING, start_time=9999.0, request_start=9999.0)).processes
    assert (shown.start_since, shown.request_duration) == (0, 0)


@given(st.integers(0, 2**32), st.sampled_from(["", "full", "json&full", "xml&full", "html&full"]))
def test_any_bytes_make_a_page(seed: int, query: str) -> None:
    random = Random(seed)
    slots = 3
    view = memoryview(bytearray(random.randbytes(board_size(slots))))
    view[stages_offset() : stages_offset() + slots] = bytes(random.choices(range(9), k=slots))
    status = build_status(
        pool="www", pm="static", board=read_board(view, slots), queue=ListenQueue(0, 0), now=random.uniform(0, 4e9)
    )
    assert status.numbers.idle + status.numbers.active == status.numbers.total == len(status.processes)
    for one in (status.numbers, *status.processes):
        values = [getattr(one, name) for name in type(one).__slots__]
        assert all(value >= 0 for value in values if isinstance(value, int | float))
    assert render_status(status, query).body.decode()
