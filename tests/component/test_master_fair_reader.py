"""Whoever floods the master is not read for a while, whatever is there to be read."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from functools import partial

import pytest

from fpm.master.loop.channel import PoolChannel
from fpm.master.loop.fair_reader import FairReader, Share
from fpm.master.loop.loop import Loop
from fpm.master.loop.read_budget import SAVED_MAX, TURN_MAX
from fpm.protocol.messages import LogText, Serving, pack
from fpm.protocol.wire import MessageError
from tests.support.waiting import hold_for

DEBT = SAVED_MAX + 10.0
"""Seconds: far more than is paid during a pause."""


@pytest.fixture
def loop() -> Iterator[Loop]:
    def fail(error: BaseException) -> None:
        raise error

    made = Loop(fail)
    yield made
    made.close()


@pytest.fixture
def pipes() -> Iterator[list[int]]:
    """Pipes that are always readable."""
    ends = [os.pipe() for _ in range(3)]
    for _, writing in ends:
        os.write(writing, b"x")
    yield [reading for reading, _ in ends]
    for end in ends:
        os.close(end[0])
        os.close(end[1])


@pytest.fixture
def channel() -> Iterator[PoolChannel]:
    made = PoolChannel()
    yield made
    made.close()


def test_a_pool_in_debt_is_not_read(loop: Loop, pipes: list[int]) -> None:
    share = Share(loop)
    calls: list[float] = []

    def read() -> None:
        calls.append(time.monotonic())
        share.spend(DEBT)

    reader = FairReader(share, pipes[0], read)
    while not calls:
        loop.run_once()
    over: list[bool] = []
    # Timers fire in their order, however late: this one before that of the reader, which waits for a second.
    loop.call_later(0.1, lambda: over.append(True))
    while not over:
        loop.run_once()
    assert len(calls) == 1
    loop.call_later(60.0, lambda: pytest.fail("it is never read again"))
    while len(calls) < 2:
        loop.run_once()
    reader.close()


def test_a_pool_in_credit_is_read_as_long_as_there_is_something(loop: Loop, pipes: list[int]) -> None:
    calls: list[bool] = []
    reader = FairReader(Share(loop), pipes[0], lambda: calls.append(True))
    for _ in range(100):
        loop.run_once()
    assert len(calls) == 100
    reader.close()


def test_many_descriptors_do_not_read_more_than_one(loop: Loop, pipes: list[int]) -> None:
    """Each in its turn, messages before output; and none beyond the share because it was ready at the same time."""
    share = Share(loop)
    calls: list[int] = []

    def read(number: int) -> None:
        calls.append(number)
        share.spend(TURN_MAX)

    output = None, lambda: False
    readers = [FairReader(share, fd, partial(read, number), output[number != 1]) for number, fd in enumerate(pipes)]
    for turn in range(1, 8):
        loop.run_once()
        assert len(calls) <= turn
    while len(calls) < 9:
        loop.run_once()
    share.spend(DEBT)
    del calls[:]
    while not calls:
        loop.run_once()
    assert calls == [1]
    for reader in readers:
        reader.close()


def test_what_waits_again_has_one_turn_each(loop: Loop, pipes: list[int]) -> None:
    """Output that always has more: one reader in each turn of the loop, one after another, for ever."""
    share = Share(loop)
    calls: list[int] = []
    readers = [FairReader(share, fd, partial(calls.append, fd), lambda: True) for fd in pipes]
    while len(calls) < len(pipes):
        loop.run_once()
    for _ in range(30):
        before = len(calls)
        loop.run_once()
        assert len(calls) - before <= 1
    assert calls[-3:] == calls[-6:-3]
    for reader in readers:
        reader.close()


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_messages_are_paid_for(loop: Loop, channel: PoolChannel) -> None:
    """Thirty long texts cost more than a pool saves up, however quickly they are read; so does what they lead to."""
    share = Share(loop)
    message = pack(LogText("notice", "line\n" * 1000 + "x" * 50_000))
    for _ in range(30):
        channel.peer.send(message)
        assert channel.receive(share, lambda received: None) == (1, True)
    assert share.budget.pause(time.monotonic()) > 0

    other = Share(loop)
    for _ in range(2):
        channel.peer.send(pack(Serving()))
    assert channel.receive(other, lambda received: burn(TURN_MAX)) == (1, True)


def test_an_empty_message_is_not_the_end_of_the_channel(loop: Loop, channel: PoolChannel) -> None:
    share, found = Share(loop), []
    channel.peer.send(b"")
    channel.peer.send(pack(Serving()))
    assert channel.receive(share, lambda received: found.append(type(received.message))) == (2, True)
    assert found == [MessageError, Serving]
    channel.peer.close()
    assert channel.receive(share, found.append) == (0, False)


def fill(end: socket.socket) -> int:
    """Write as many messages as there is room for; returns how many."""
    end.setblocking(False)
    for count in range(1_000_000):
        try:
            end.send(b"x")
        except BlockingIOError:
            return count
    raise AssertionError("there is no end")


def test_all_that_a_dead_process_has_left_is_read_however_long_that_takes(loop: Loop, channel: PoolChannel) -> None:
    """Its pool is in debt, and the machine so busy that the first message takes longer than a turn of the loop."""
    share, found = Share(loop), []
    share.spend(DEBT)
    count = fill(channel.peer)
    channel.peer.close()

    def take(received: object) -> None:
        if not found:
            hold_for(lambda: True, 0.2)
            loop.now += 60.0
        found.append(received)

    assert not channel.receive_last(share, take)
    assert len(found) == count > 100


def test_who_goes_on_writing_for_a_dead_process_is_not_heard_for_ever(loop: Loop, channel: PoolChannel) -> None:
    share, found = Share(loop), []
    count = fill(channel.peer)

    def take(received: object) -> None:
        found.append(received)
        assert len(found) < 10 * count
        channel.peer.send(b"x")

    assert channel.receive_last(share, take)
    assert len(found) >= count
    assert not share.may_read(), "it is charged"


def test_a_pool_in_debt_is_heard_one_message_at_a_time(loop: Loop, channel: PoolChannel) -> None:
    share = Share(loop)
    share.spend(DEBT)
    for _ in range(2):
        channel.peer.send(pack(Serving()))
    assert channel.receive(share, lambda received: None) == (1, True)
