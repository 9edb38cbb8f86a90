"""What the processes of a pool share, over its generations and its 503 responder."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator

import pytest

from fpm.master.loop.loop import Loop
from fpm.master.pool.shared_resources import PoolResources, SharedResources
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.statistics import CLASSES_OFFSET, read_statistics
from tests.support.old_board import make_old_board


def parking_of(shared: SharedResources) -> list[int]:
    """Tell one parking socket from another."""
    return [os.fstat(end.fileno()).st_ino for end in shared.park]


def fail(error: BaseException) -> None:
    raise error


def test_what_the_responder_parks_is_for_the_workers_that_come_after_it() -> None:
    """It is there first in a pool that has failed at its start; a request that it had just accepted was lost."""
    loop = Loop(fail)
    resources = PoolResources(loop, lambda shared: None)
    parking = parking_of(resources.for_responder())
    assert parking_of(resources.for_trial(2)) == parking
    assert parking_of(resources.for_current(2)) == parking
    resources.close()
    loop.close()


def test_a_responder_of_a_pool_that_has_had_workers_parks_for_them() -> None:
    loop = Loop(fail)
    resources = PoolResources(loop, lambda shared: None)
    assert parking_of(resources.for_current(2)) == parking_of(resources.for_responder())
    resources.close()
    loop.close()


def count(board: Scoreboard, digit: int, number: int) -> None:
    """Have a worker count responses of a class."""
    with board.statistics(0) as block:
        struct.pack_into("<Q", block, CLASSES_OFFSET + 8 * (digit - 1), number)


def classes_of(block: bytes) -> tuple[int, ...]:
    return read_statistics(block).classes


@pytest.fixture
def resources() -> Iterator[PoolResources]:
    loop = Loop(fail)
    made = PoolResources(loop, lambda shared: None)
    yield made
    made.close()
    loop.close()


def test_what_was_counted_on_a_scoreboard_that_is_gone_is_not_lost(resources: PoolResources) -> None:
    count(resources.for_current(1).board, 2, 30)
    count(resources.for_responder().board, 5, 4)
    former = resources.current
    assert former is not None
    larger = resources.for_current(2)
    count(larger.board, 2, 10)
    assert classes_of(resources.count_all()) == (0, 40, 0, 0, 4)
    count(former.board, 2, 31)  # a worker of the former generation goes on for a while
    assert classes_of(resources.count_all()) == (0, 41, 0, 0, 4)
    resources.release([larger.board])
    assert resources.others == []
    assert classes_of(resources.count_all()) == (0, 41, 0, 0, 4)
    assert classes_of(resources.count_elsewhere()) == (0, 31, 0, 0, 4)
    assert resources.count_unavailable() == 4


def test_an_upgrade_takes_along_what_is_on_no_scoreboard_that_is_handed_over(resources: PoolResources) -> None:
    count(resources.for_current(1).board, 2, 30)
    count(resources.for_responder().board, 5, 4)
    resources.for_current(2)
    resources.release([])
    state = json.loads(json.dumps(resources.dump_statistics()))
    loop = Loop(fail)
    heir = PoolResources(loop, lambda shared: None)
    heir.restore_statistics(state)
    assert classes_of(heir.count_all()) == (0, 30, 0, 0, 4)
    count(heir.for_responder().board, 5, 1)
    assert heir.count_unavailable() == 5
    heir.restore_statistics({})  # of a program that counted nothing
    assert classes_of(heir.count_all()) == (0, 0, 0, 0, 1)
    heir.close()
    loop.close()


def test_workers_see_what_was_counted_elsewhere(resources: PoolResources) -> None:
    board = resources.for_current(1).board
    count(board, 2, 5)
    with board.statistics(0) as block:
        board.write_elsewhere(bytes(block))
    assert classes_of(board.sum_everything()) == (0, 10, 0, 0, 0)
    assert classes_of(board.sum_statistics()) == (0, 5, 0, 0, 0)
    with board.routes(0) as table:
        assert not any(table)


def test_a_scoreboard_of_an_older_pyfpm_is_for_the_workers_that_it_has(resources: PoolResources) -> None:
    loop = Loop(fail)
    old = SharedResources(loop, make_old_board(2), os.eventfd(0), socket.socketpair())
    resources.take(old)
    assert resources.for_trial(2) is not old
    new = resources.for_current(2)
    assert (new.board.is_whole, old in resources.others) == (True, True)
    assert resources.for_current(2) is new
    loop.close()
