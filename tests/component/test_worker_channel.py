"""A message that must arrive waits for room on a channel that an application has filled; no other message does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from fpm.protocol.messages import Serving, WorkerReady, pack
from fpm.worker import master_channel
from fpm.worker.master_channel import MasterChannel


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The master's end and the worker's, whose messages nobody has read yet."""
    master, worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with master, worker:
        channel = MasterChannel(worker)
        while channel.send(Serving()):
            pass
        yield master, worker


def test_a_message_that_must_arrive_waits_for_room(ends: tuple[socket.socket, socket.socket]) -> None:
    master, worker = ends
    heard = []

    def read() -> None:
        while pack(WorkerReady(True)) not in heard:
            heard.append(master.recv(65536))

    reader = threading.Timer(0.2, read)
    reader.start()
    assert MasterChannel(worker).send_surely(WorkerReady(True))
    reader.join(60)
    assert not reader.is_alive()
    assert len(heard) > 1


def test_it_does_not_wait_for_a_master_that_is_gone(ends: tuple[socket.socket, socket.socket]) -> None:
    master, worker = ends
    master.close()
    begin = time.monotonic()
    assert not MasterChannel(worker).send_surely(WorkerReady(True))
    assert time.monotonic() - begin < master_channel.PATIENCE


def test_it_gives_up(ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master_channel, "PATIENCE", 0.1)
    assert not MasterChannel(ends[1]).send_surely(WorkerReady(True))
