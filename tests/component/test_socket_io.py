"""Waiting for a peer is bounded: one that sends nothing, and one that takes nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fpm.scoreboard.stages import Stage
from fpm.worker.socket_io import PeerGone, read_or_wait, send_all, send_buffers

LIMIT = 0.05
PATIENCE = 20.0
LARGE = b"x" * (16 << 20)
"""More than the kernel keeps for a socket."""


class Waits:
    """What has been waited for."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []

    @contextmanager
    def waiting(self, stage: Stage) -> Iterator[None]:
        """See Waiter."""
        self.stages.append(stage)
        yield


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end, which does not block, and the peer's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def ended_by(call: Callable[[], object]) -> BaseException | None:
    """What a call has raised; it is made in a thread, since one that waits for ever could not be ended."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except PeerGone as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "it waits for ever"
    return raised[0] if raised else None


def test_who_sends_nothing_is_gone(pair: tuple[socket.socket, socket.socket]) -> None:
    waits = Waits()
    error = ended_by(lambda: read_or_wait(pair[0].fileno(), LIMIT, waits))
    assert str(error) == "no data for 0.05 seconds"
    assert waits.stages == [Stage.READING_BODY]


@pytest.mark.parametrize("what", ["send_all", "send_buffers"])
def test_who_takes_nothing_is_gone(pair: tuple[socket.socket, socket.socket], what: str) -> None:
    waits, fd = Waits(), pair[0].fileno()
    calls: dict[str, Callable[[], object]] = {
        "send_all": lambda: send_all(fd, LARGE, LIMIT, waits),
        "send_buffers": lambda: send_buffers(fd, [LARGE], LIMIT, waits),
    }
    error = ended_by(calls[what])
    assert str(error) == "the peer took nothing for 0.05 seconds"
    assert set(waits.stages) == {Stage.SENDING}
