"""The wake-up of a scoreboard: one number and one eventfd for all who want to be woken."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fpm.master.loop.loop import Loop
from fpm.master.loop.read_budget import TokenBucket
from fpm.master.pool.saturation import ANY_REQUEST, Subscription, WakeupFd
from fpm.scoreboard.layout import WAKE_BELOW, WAKE_BELOW_OFFSET
from fpm.scoreboard.memory import Scoreboard


class Tower:
    """A wake-up, its eventfd, and who was told."""

    def __init__(self) -> None:
        self.board = Scoreboard.create(4)
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.loop = Loop(self.raise_)
        self.wakeup = WakeupFd(self.loop, self.board.view, self.fd)
        self.told: list[str] = []
        self.idle = 3

    def raise_(self, error: BaseException) -> None:
        raise error

    def want(self, who: str, below: int) -> None:
        self.wakeup.subscribe(who, Subscription(below, lambda: self.told.append(who), lambda: self.idle))

    @property
    def number(self) -> int:
        found: int = WAKE_BELOW.unpack_from(self.board.view, WAKE_BELOW_OFFSET)[0]
        return found

    def ring(self) -> list[str]:
        """A worker rings; who is told."""
        self.told.clear()
        os.eventfd_write(self.fd, 1)
        self.loop.call_later(0.05, lambda: None)  # so that a wake-up to which nobody listens ends the turn, too
        self.loop.run_once()
        return self.told


@pytest.fixture
def tower() -> Iterator[Tower]:
    made = Tower()
    yield made
    made.wakeup.close()
    made.loop.close()
    os.close(made.fd)
    made.board.close()


def test_the_number_is_the_largest_that_is_wanted(tower: Tower) -> None:
    assert tower.number == 0
    tower.want("fullness", 1)
    assert tower.number == 1
    tower.want("overtime", ANY_REQUEST)
    assert tower.number == ANY_REQUEST
    tower.wakeup.unsubscribe("overtime")
    assert tower.number == 1
    tower.wakeup.unsubscribe("fullness")
    tower.wakeup.unsubscribe("fullness")
    assert tower.number == 0
    assert tower.ring() == [], "it is silent"


def test_a_ring_is_for_those_whose_wish_is_true_and_a_wish_holds_once(tower: Tower) -> None:
    tower.want("fullness", 1)
    tower.want("overtime", ANY_REQUEST)
    assert tower.ring() == ["overtime"], "there are idle workers"
    assert tower.number == 1
    tower.idle = 0
    tower.want("overtime", ANY_REQUEST)
    assert sorted(tower.ring()) == ["fullness", "overtime"]
    assert tower.number == 0
    tower.idle = 3
    tower.want("fullness", 1)
    assert tower.ring() == ["fullness"], "somebody was busy a moment ago"


def test_a_ring_before_a_wish_is_not_for_it(tower: Tower) -> None:
    tower.want("fullness", 1)
    os.eventfd_write(tower.fd, 1)
    tower.wakeup.unsubscribe("fullness")
    tower.want("fullness", 1)
    tower.loop.call_later(0.05, lambda: None)
    tower.loop.run_once()
    assert tower.told == []


def test_an_allowance_is_so_many_at_once_and_so_many_a_second() -> None:
    allowance = TokenBucket(8.0, 3.0)
    assert [allowance.take(100.0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert allowance.refused == 2
    assert allowance.take(100.125)
    assert allowance.refused == 0
    assert not allowance.take(100.15625)
    assert [allowance.take(500.0) for _ in range(4)] == [True] * 3 + [False], "no more than that is saved up"
    assert not allowance.take(400.0), "a clock that goes back gives nothing"
