"""How a pool's log is opened as its user, and how lines are copied that workers must not write themselves."""

from __future__ import annotations

import os
import pwd
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fpm.config.model import Identity
from fpm.log.error import ErrorLog
from fpm.log.target import BUFFER_MAX, Target, find_target
from fpm.master.core import Core, EventSink, log_reader
from fpm.master.log_pipe import LINE_MAX, LogPipe, make_harmless
from fpm.master.loop.loop import Loop
from fpm.master.loop.read_budget import ReadBudget
from fpm.master.processes import log_opener
from fpm.master.processes.log_opener import AT_ONCE, LogOpener, Order
from tests.support.directories import opened_directory
from tests.support.waiting import wait_until

ENTRY = pwd.getpwnam("www-data")
USER = Identity(ENTRY.pw_uid, ENTRY.pw_gid, (ENTRY.pw_gid,), ENTRY.pw_name, "/")


class Place:
    """A directory of a pool's user, and as much of a master as an opener needs."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.logs = top / "logs"
        self.logs.mkdir()
        self.loop = Loop(pytest.fail)
        self.log = ErrorLog(str(top / "error.log"))
        self.core = Core(self.loop, self.log, EventSink(time.time, log_reader(self.log)), {}, time.time)
        self.opener = LogOpener(self.core)
        self.outcomes: list[Target | OSError] = []

    def order(self, name: str) -> Order:
        made = self.opener.open(str(self.logs / name), USER, self.outcomes.append)
        assert isinstance(made, Order)
        return made

    def turn(self) -> None:
        """One turn of the loop, and whatever has exited."""
        self.loop.call_later(0.01, lambda: None)
        self.loop.run_once()
        for pid in list(self.core.reapers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self.core.reapers.pop(pid)(status)

    def wait(self, count: int) -> None:
        def have_come() -> bool:
            self.turn()
            return len(self.outcomes) >= count and not self.core.reapers

        wait_until(have_come)

    def close(self) -> None:
        for outcome in self.outcomes:
            if isinstance(outcome, Target):
                outcome.close()
        self.log.close()
        self.loop.close()


@pytest.fixture
def place() -> Iterator[Place]:
    with opened_directory() as top:
        made = Place(top)
        os.chown(made.logs, USER.uid, USER.gid)
        yield made
        made.close()


@pytest.mark.root
def test_the_pools_user_opens_his_logs(place: Place) -> None:
    names = [f"{number}.log" for number in range(AT_ONCE + 2)]
    (place.logs / names[0]).touch(mode=0o600)
    for name in names:
        place.order(name)
    assert len(place.core.reapers) == AT_ONCE
    place.wait(len(names))
    (refused,) = [outcome for outcome in place.outcomes if isinstance(outcome, OSError)]
    assert refused.strerror == "Permission denied (13)"
    for name in names[1:]:
        found = (place.logs / name).stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (USER.uid, USER.gid, 0o600)


@pytest.mark.root
def test_what_is_late_or_not_wanted_any_more_is_dropped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    place.order("forgotten.log").forget()
    wait_until(lambda: (place.turn(), not place.core.reapers)[1])
    assert place.outcomes == []
    monkeypatch.setattr(log_opener, "PATIENCE", 0.0)
    place.order("late.log")
    place.wait(1)
    (late,) = place.outcomes
    assert isinstance(late, OSError)
    assert late.strerror == "the process that opens it did not answer within 0 s"
    monkeypatch.undo()
    place.order("unfinished.log")
    (pid,) = place.core.reapers
    place.opener.close()
    wait_until(lambda: (place.turn(), not place.core.reapers)[1])
    assert not psutil.pid_exists(pid)
    assert len(place.outcomes) == 1
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.root
def test_lines_are_copied_whole_and_harmless(place: Place) -> None:
    path = place.top / "copy.log"
    pipe = LogPipe(place.loop, ReadBudget())
    os.write(pipe.write_fd, b"early\n")
    pipe.copy_to(find_target(str(path)))
    long = b"x" * (2 * LINE_MAX)
    for piece in (b"in ", b"pieces\n", b"[29-Nov-2026 00:00:00] ALERT: x\n\x1b[2J\xff\n", long, b"\nlast"):
        os.write(pipe.write_fd, piece)
        place.turn()
    wait_until(lambda: (place.turn(), path.read_bytes().count(b"x") > len(long))[1])
    pipe.close()
    early, joined, forged, control, *rest, last = path.read_bytes().split(b"\n")[:-1]
    assert (early, joined, last) == (b"early", b"in pieces", b"last")
    assert forged == rb"\x5b29-Nov-2026 00:00:00] ALERT: x"
    assert control.decode() == "\\x1b[2J\xff"
    assert b"".join(rest) == long


def test_an_ordinary_line_stays_as_it_is() -> None:
    for line in (
        b'10.0.0.1 - - [29/Nov/2026:00:00:00 +0000] "GET / HTTP/1.1" 200',
        b"[29/Nov/2026] <b>",
        "Grüße".encode(),
    ):
        assert make_harmless(line + b"\n") == line + b"\n"
    assert make_harmless(b"<3>x\n[29-Nov-2026 1") == b"\\x3c3>x\n\\x5b29-Nov-2026 1"
    for line in (b'{"level":"alert"}', b'{"a": {}, "level" : 1', b'{"\\u006cevel":"alert"}', b'{"le\\u0076el":1}'):
        assert make_harmless(b"\n" + line) == b"\n\\x7b" + line[1:]
    assert make_harmless(b' {"level":1}') == b'\\x20{"level":1}'
    assert make_harmless(b'{"a":"level"}\n{}\n"level":') == b'{"a":"level"}\n{}\n"level":'


@pytest.mark.root
def test_nobody_waits_for_a_log_that_is_not_read(place: Place) -> None:
    os.mkfifo(place.top / "fifo")
    target = find_target(str(place.top / "fifo"))
    pipe = LogPipe(place.loop, ReadBudget())
    pipe.copy_to(target)
    line, written, refused = b"y" * 999 + b"\n", 0, 0
    while written < 4 * BUFFER_MAX and refused < 10_000:
        try:
            written += os.write(pipe.write_fd, line)
        except BlockingIOError:
            refused += 1
            place.turn()
    assert written >= 4 * BUFFER_MAX
    assert target.trouble is not None
    pipe.retire()
    wait_until(lambda: (place.turn(), pipe.fd < 0)[1])
