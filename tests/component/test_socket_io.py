"""What a peer takes, and when it is given up; what is still to come of a record that it has taken a part of."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from fpm.fastcgi.records import pack_answer, pack_finish, pack_stream, split_records
from fpm.worker import socket_io
from fpm.worker.socket_io import PeerGone, has_left, send_now, send_records, wait_for_room
from tests.support import raw_fastcgi as raw

LIMIT = 0.05
PATIENCE = 60.0
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Our end, which does not block, and the peer's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def fill(ours: socket.socket) -> int:
    """Send until the kernel takes no more; returns the number of bytes."""
    sent = 0
    while part := send_now(ours.fileno(), b"x" * 65536):
        sent += part
    return sent


def test_who_takes_nothing_is_given_up(pair: Pair) -> None:
    fill(pair[0])
    found: list[bool] = []
    # In a thread, since a wait for ever could not be ended.
    thread = threading.Thread(target=lambda: found.append(wait_for_room(pair[0].fileno(), LIMIT)), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert found == [False]


def test_who_takes_little_is_not(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    left = fill(pair[0])
    asked = []

    def wait(fd: int, event: int, timeout: float | None) -> bool:
        """The time passes: the peer takes a little, at last nothing."""
        nonlocal left
        asked.append(timeout)
        left -= len(pair[1].recv(40_000)) if left > 100_000 else 0
        return False

    monkeypatch.setattr(socket_io, "wait", wait)
    assert not wait_for_room(pair[0].fileno(), 7.0)
    assert len(asked) > 2
    assert set(asked) == {7.0}
    monkeypatch.setattr(socket_io, "wait", lambda fd, event, timeout: asked.append(timeout) is None)
    assert wait_for_room(pair[0].fileno(), 0.0)
    assert asked[-1] is None, "0 is no limit"


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 5_000_000])
def test_the_rest_of_the_record_that_a_peer_has_taken_a_part_of(pair: Pair, size: int) -> None:
    ours, theirs = pair
    data = bytes(range(256)) * (size // 256) + b"!" * (size % 256)
    buffers = [*pack_stream(raw.STDOUT, 1, data), *split_records(pack_finish(1))]
    whole = b"".join(buffers)
    queued = fill(ours)
    taken = b""
    rests = []

    def await_room(rest: bytes) -> None:
        """The peer takes all that has been sent to it: with the rest, these are whole records."""
        nonlocal taken, queued
        rests.append(rest)
        theirs.setblocking(False)
        try:
            while part := theirs.recv(1 << 20):
                dropped, queued = min(queued, len(part)), max(0, queued - len(part))
                taken += part[dropped:]
        except BlockingIOError:
            at, so_far = 0, taken + rest
            while at < len(so_far):
                at += 8 + int.from_bytes(so_far[at + 4 : at + 6], "big")
            assert at == len(so_far)
            assert whole.startswith(so_far)

    send_records(ours.fileno(), buffers, 0, await_room)
    await_room(b"")
    assert taken == whole
    assert size < 1_000_000 or any(rests)


def test_records_in_one_buffer_are_told_apart() -> None:
    parts = split_records(pack_answer(1, b"abc"))
    assert [len(part) for part in parts] == [8, 3, 8, 0, 8, 8]
    assert b"".join(parts) == pack_answer(1, b"abc")


def test_a_peer_that_is_gone(pair: Pair) -> None:
    ours, theirs = pair
    assert has_left(ours.fileno()) is False
    theirs.shutdown(socket.SHUT_WR)
    assert has_left(ours.fileno()) is None
    theirs.close()
    assert has_left(ours.fileno()) is True
    with pytest.raises(PeerGone):
        send_now(ours.fileno(), b"x")
