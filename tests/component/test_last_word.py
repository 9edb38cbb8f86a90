"""What a worker leaves to be said is said when it has ended, and only then."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from fpm.fastcgi.records import pack_break
from fpm.worker.answer_sender import FILE_RECORD
from fpm.worker.last_word import LastWord, LastWords, say
from tests.support import raw_fastcgi as raw

PID = 1234
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def words() -> Iterator[tuple[LastWords, LastWord]]:
    """The template's side and the worker's."""
    template = LastWords()
    template.begin_fork()
    pair = template.take_pair()
    assert pair is not None
    with pair[0].dup() as leaving, pair[1].dup() as reading:
        template.end_fork(PID)
        yield template, LastWord((leaving, reading))


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A connection: our end, which does not block, and the peer's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.settimeout(60)
        yield ours, theirs


def read_all(peer: socket.socket) -> bytes:
    data = b""
    while part := peer.recv(1 << 20):
        data += part
    return data


def fill(connection: socket.socket) -> int:
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += connection.send(b"x" * 65536)
    return sent


@pytest.mark.parametrize("left", [["first"], ["first", "second"], ["first", None], [], ["first", None, "third"]])
def test_the_last_word_of_a_worker_that_has_ended(
    words: tuple[LastWords, LastWord], pair: Pair, left: list[str | None]
) -> None:
    template, worker = words
    ours, theirs = pair
    for word in left:
        if word is None:
            worker.withdraw()
        else:
            worker.leave(ours.fileno(), word.encode())
    assert worker.is_left == bool(left and left[-1])
    ours.close()
    template.say_for(PID)
    template.say_for(PID)
    assert read_all(theirs) == (left[-1] or "" if left else "").encode()


@pytest.mark.parametrize("pair_of_worker", [True, False])
def test_a_word_may_be_said_several_times(words: tuple[LastWords, LastWord], pair: Pair, pair_of_worker: bool) -> None:
    ours, theirs = pair
    template, worker = words
    worker = worker if pair_of_worker else LastWord(None)
    worker.leave(ours.fileno(), b"word", 3)
    if not pair_of_worker:
        worker.say()
    template.say_for(PID)
    ours.close()
    assert read_all(theirs) == b"wordwordword"


@pytest.mark.parametrize("promised", [0, 1, 8, 30_001, 61_440])
def test_whatever_a_head_has_promised_a_file_is_cut_off_behind_it(promised: int) -> None:
    """The head of a record of a file is out when its worker ends, and nothing of the content."""
    left = pack_break(1) * (FILE_RECORD // 8 + 1)
    rest = left[promised:]
    assert rest[:2] not in (bytes((1, raw.STDOUT)), bytes((1, raw.STDERR)), bytes((1, raw.END)))
    assert 8 <= len(rest) < 8 + 65535, "neither nothing, nor a whole record"


def test_a_worker_without_a_template_says_it_itself(pair: Pair) -> None:
    ours, theirs = pair
    worker = LastWord(None)
    worker.leave(ours.fileno(), b"word")
    worker.say()
    assert not worker.is_left
    ours.close()
    assert read_all(theirs) == b"word"


def test_a_peer_that_has_no_time_gets_it_all_the_same(pair: Pair) -> None:
    ours, theirs = pair
    sent = fill(ours)
    say(ours.fileno(), b"w" * 65551)
    ours.close()
    got = read_all(theirs)
    assert got[sent:] == b"w" * 65551


def test_a_full_connection_by_tcp_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as theirs:
        theirs.settimeout(60)
        ours, _ = server.accept()
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        fill(ours)
        say(ours.fileno(), b"w" * 65551)
        ours.close()
        with pytest.raises(ConnectionResetError):
            read_all(theirs)


def test_a_peer_that_has_gone_is_no_trouble(pair: Pair) -> None:
    ours, theirs = pair
    theirs.close()
    worker = LastWord(None)
    worker.leave(ours.fileno(), b"word")
    worker.say()


def test_what_is_no_connection_holds_nobody_up(words: tuple[LastWords, LastWord]) -> None:
    """An application can reach what its worker leaves to the template."""
    template, worker = words
    reading, writing = os.pipe()
    try:
        worker.leave(writing, b"x" * 100_000)
        template.say_for(PID)
    finally:
        os.close(reading)
        os.close(writing)


def test_without_descriptors_a_worker_does_without() -> None:
    template = LastWords()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        template.begin_fork()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert template.take_pair() is None
    template.end_fork(PID)
    template.say_for(PID)
