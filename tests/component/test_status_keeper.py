"""The status process keeps all that was counted, however close together its master answers and somebody looks."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fpm.paths.files import open_to_keep
from fpm.protocol.status import (
    HistorySaved,
    HistoryTaken,
    HistoryWanted,
    KeepHistory,
    SaveHistory,
    SnapshotTaken,
    SnapshotWanted,
    as_message,
    read_report,
)
from fpm.protocol.wire import MESSAGE_MAX, pack_message, unpack_message
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.reading import join_board, pack_header
from fpm.status.past.exchange import Past, read_past
from fpm.status.past.recent import WINDOWS
from fpm.status.past.sample import Sample
from fpm.status.snapshot import PoolFacts, pack_snapshot
from fpm.status_server.history_file import HistoryFile
from fpm.system.spawn import spawn_helper
from tests.support.overviews import DAEMON, NOW

QUIET = 0.3
"""Seconds in which nothing is said that must not be said."""
FACTS = PoolFacts(
    name="www",
    pm="static",
    listen="/run/www.sock",
    directory="",
    app="app:main",
    state="running",
    ready=True,
    queue=(0, 511),
    slots=0,
    room=4,
)


class Keeper:
    """A status process whose master is the test: it says what has been counted, and when."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._channel, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(60)
        self._pid = spawn_helper("fpm.status_server", [], {1: 2, 2: 2, 3: peer.fileno()})
        peer.close()
        fd = open_to_keep(str(path))
        self.tell(KeepHistory(str(path)), fd)

    def tell(self, command: KeepHistory | HistoryWanted | SaveHistory | SnapshotTaken, *fds: int) -> None:
        """Send it something; our descriptors are closed."""
        socket.send_fds(self._channel, [pack_message(as_message(command))], fds)
        for fd in fds:
            os.close(fd)

    def heard(self, kind: type) -> object:
        """What it says next, which is of this kind."""
        report = read_report(unpack_message(self._channel.recv(MESSAGE_MAX)))
        assert isinstance(report, kind)
        return report

    def asked(self) -> SnapshotWanted:
        report = self.heard(SnapshotWanted)
        assert isinstance(report, SnapshotWanted)
        return report

    def says_nothing(self) -> None:
        self._channel.settimeout(QUIET)
        with pytest.raises(TimeoutError):
            self._channel.recv(MESSAGE_MAX)
        self._channel.settimeout(60)

    def answer(self, wanted: SnapshotWanted, requests: int, after: float) -> None:
        """The pool has answered so many requests, so many seconds after the daemon's start."""
        header = pack_header(PoolNumbers(start_time=NOW, requests=requests))
        daemon = replace(DAEMON, started=NOW, now=NOW + after)
        fd = os.memfd_create("snapshot")
        os.write(fd, pack_snapshot(daemon, [(FACTS, join_board(header, []))]))
        self.tell(SnapshotTaken(wanted.number), fd)

    def look(self) -> int:
        """Somebody looks at all pools: the file for the past that he sees."""
        fd = os.memfd_create("past")
        self.tell(HistoryWanted(1, None, points=False), os.dup(fd))
        return fd

    def seen(self, fd: int) -> dict[str, Past]:
        """What he sees."""
        self.heard(HistoryTaken)
        with open(fd, "rb") as file:
            file.seek(0)
            return read_past(file.read())

    def leave(self) -> int:
        """Let it go: how many requests are in the past then."""
        self._channel.shutdown(socket.SHUT_WR)
        assert os.waitpid(self._pid, 0)[1] == 0
        self._pid = 0
        fd = open_to_keep(str(self._path))
        try:
            track = HistoryFile(fd, "the file").load()["www"]
        finally:
            os.close(fd)
        assert isinstance(track.base, Sample)
        return track.recent(track.base).windows[WINDOWS.index(300)].requests

    def close(self) -> None:
        self._channel.close()
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    with closing(Keeper(tmp_path / "control.history")) as one:
        yield one


def test_a_last_sample_that_comes_too_early_is_taken_again(keeper: Keeper) -> None:
    keeper.answer(keeper.asked(), 3, 5.0)
    keeper.tell(SaveHistory())
    keeper.answer(keeper.asked(), 5, 5.05)
    keeper.answer(keeper.asked(), 6, 5.3)
    keeper.heard(HistorySaved)
    assert keeper.leave() == 6


def test_a_last_sample_without_news_is_not_waited_for(keeper: Keeper) -> None:
    keeper.answer(keeper.asked(), 3, 5.0)
    keeper.tell(SaveHistory())
    keeper.answer(keeper.asked(), 3, 5.05)
    keeper.heard(HistorySaved)
    assert keeper.leave() == 3


def test_who_looks_does_not_overtake_the_sample(keeper: Keeper) -> None:
    """Two snapshots in the wrong order look as if the clock had been set back, and what is later would be forgotten."""
    first = keeper.asked()
    past = keeper.look()
    keeper.says_nothing()
    keeper.answer(first, 3, 5.0)
    keeper.answer(keeper.asked(), 4, 10.0)
    assert keeper.seen(past)["www"].recent.windows[0].requests == 4
    assert keeper.leave() == 4


def test_what_only_a_look_has_seen_is_saved(keeper: Keeper) -> None:
    keeper.tell(SnapshotTaken(keeper.asked().number, error="no memory"))
    past = keeper.look()
    keeper.answer(keeper.asked(), 4, 5.0)
    assert keeper.seen(past)
    assert keeper.leave() == 4


def test_nothing_is_known_of_the_past_while_its_file_is_awaited(tmp_path: Path) -> None:
    """The process of a former master may still write it."""
    path = tmp_path / "control.history"
    file = open_to_keep(str(path))
    fcntl.flock(file, fcntl.LOCK_EX)
    with closing(Keeper(path)) as keeper:
        past = keeper.look()
        keeper.answer(keeper.asked(), 3, 5.0)
        assert keeper.seen(past) == {}
        os.close(file)
        keeper.answer(keeper.asked(), 4, 6.0)
        past = keeper.look()
        keeper.answer(keeper.asked(), 5, 7.0)
        assert keeper.seen(past)["www"].recent.windows[0].requests == 5
        assert keeper.leave() == 4
