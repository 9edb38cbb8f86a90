"""Whoever floods the master is not read for a while, whatever is there to be read."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from fpm.master.loop.channel import PoolChannel
from fpm.master.loop.fair_reader import FairReader
from fpm.master.loop.loop import Loop
from fpm.master.loop.read_budget import SAVED_MAX, ReadBudget
from fpm.protocol.messages import LogText, Serving, pack
from fpm.protocol.wire import MessageError

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
def full_pipe() -> Iterator[int]:
    """A pipe that is always readable."""
    reading, writing = os.pipe()
    os.write(writing, b"x")
    yield reading
    os.close(reading)
    os.close(writing)


def test_a_pool_in_debt_is_not_read(loop: Loop, full_pipe: int) -> None:
    share = ReadBudget()
    calls: list[float] = []

    def read() -> None:
        calls.append(time.monotonic())
        share.spend(DEBT, calls[-1])

    reader = FairReader(loop, share, full_pipe, read, timed=False)
    while not calls:
        loop.run_once()
    over: list[bool] = []
    # Timers fire in their order, however late: this one before that of the reader, which waits for a second.
    loop.call_later(0.1, lambda: over.append(True))
    while not over:
        loop.run_once()
    assert len(calls) == 1
    loop.call_later(20.0, lambda: pytest.fail("it is never read again"))
    while len(calls) < 2:
        loop.run_once()
    reader.close()


def test_a_pool_in_credit_is_read_as_long_as_there_is_something(loop: Loop, full_pipe: int) -> None:
    calls: list[bool] = []
    reader = FairReader(loop, ReadBudget(), full_pipe, lambda: calls.append(True), timed=False)
    for _ in range(100):
        loop.run_once()
    assert len(calls) == 100
    reader.close()


def test_messages_are_paid_for() -> None:
    """Thirty long texts cost more than a pool saves up, however quickly they are read."""
    channel, share = PoolChannel(), ReadBudget()
    message = pack(LogText("notice", "line\n" * 1000 + "x" * 50_000))
    for _ in range(30):
        channel.peer.send(message)
        assert len(channel.receive(share)[0]) == 1
    assert share.pause(time.monotonic()) > 0
    channel.close()


def test_an_empty_message_is_not_the_end_of_the_channel() -> None:
    channel, share = PoolChannel(), ReadBudget()
    channel.peer.send(b"")
    channel.peer.send(pack(Serving()))
    messages, alive = channel.receive(share)
    assert alive
    assert [type(one.message) for one in messages] == [MessageError, Serving]
    channel.peer.close()
    assert channel.receive(share) == ([], False)
    channel.socket.close()


def test_a_pool_in_debt_is_heard_one_message_at_a_time() -> None:
    channel, share = PoolChannel(), ReadBudget()
    share.spend(DEBT, time.monotonic())
    for _ in range(2):
        channel.peer.send(pack(Serving()))
    assert len(channel.receive(share)[0]) == 1
    channel.close()
