"""The error log against real files, pipes, FIFOs, terminals, sockets and a full disk."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpm.errors import StartError
from fpm.event_text.worker import output_text
from fpm.log.error import ErrorLog
from fpm.log.lines import INDENT, LineAssembler, pool_prefix
from fpm.log.syslog_target import SyslogTarget
from fpm.log.target import BUFFER_MAX, FileTarget
from tests.support.waiting import wait_until

ENTRY = re.compile(r"\[\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d\] (DEBUG|NOTICE|WARNING|ERROR|ALERT): .*")
NO_TIME = 60.0
"""Seconds in which hundreds of lines are written by anybody who does not wait, however busy the machine is."""


@pytest.fixture
def stderr() -> Iterator[None]:
    """Give the real standard error back at the end."""
    saved = os.dup(2)
    yield
    os.dup2(saved, 2)
    os.close(saved)


def in_time(write: object) -> None:
    """Run it in a thread: a writer that blocks fails the test and does not hang it."""
    thread = threading.Thread(target=write, daemon=True)  # type: ignore[arg-type]
    thread.start()
    thread.join(NO_TIME)
    assert not thread.is_alive(), "the writer waits for the reader"


def read_available(fd: int) -> bytes:
    data = b""
    while select.select([fd], [], [], 0)[0]:
        chunk = os.read(fd, 65536)
        if not chunk:
            break
        data += chunk
    return data


def drain(log: ErrorLog, fd: int) -> bytes:
    """Read all there is, letting the log write what it holds back."""
    data = read_available(fd)
    for _ in range(1000):
        if log.pending_fd() is None:
            break
        log.flush()
        data += read_available(fd)
    return data + read_available(fd)


def write_many(log: ErrorLog, count: int) -> None:
    for number in range(count):
        log.notice(f"line {number} " + "x" * 900)


def test_file_is_private_and_has_every_level(tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    log = ErrorLog(str(path), level="debug")
    for level in ("debug", "notice", "warning", "error", "alert"):
        getattr(log, level)(f"a {level}")
    log.close()
    assert path.stat().st_mode & 0o777 == 0o600
    lines = path.read_text().splitlines()
    assert [line.split("] ")[1] for line in lines] == [
        f"{name.upper()}: pid {os.getpid()}: a {name}" for name in ("debug", "notice", "warning", "error", "alert")
    ]


def test_level_is_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    log = ErrorLog(str(path), level="warning")
    log.notice("no")
    log.log("warning", "yes")
    log.log("a level from a hostile worker", "also")
    log.raw("raw\x1b")
    log.close()
    lines = path.read_text().splitlines()
    assert ENTRY.fullmatch(lines[0])
    assert [line[line.find("]") + 2 :] for line in lines[:2]] == ["WARNING: yes", "ERROR: also"]
    assert lines[2:] == ["raw\\x1b"]


def test_reopen_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    log = ErrorLog(str(path))
    log.notice("before")
    path.rename(tmp_path / "error.log.1")
    log.notice("between")
    log.reopen()
    log.notice("after")
    log.close()
    assert (tmp_path / "error.log.1").read_text().count("\n") == 2
    assert path.read_text().endswith("NOTICE: after\n")


def test_reopen_that_fails_goes_on_in_the_old_file(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    log = ErrorLog(str(directory / "error.log"))
    directory.rename(tmp_path / "moved")
    log.reopen()
    log.notice("still here")
    log.close()
    lines = (tmp_path / "moved" / "error.log").read_text().splitlines()
    assert "unable to re-open error log file" in lines[0]
    assert lines[1].endswith("still here")


def test_standard_error_follows_the_file(tmp_path: Path, stderr: None) -> None:
    path = tmp_path / "error.log"
    log = ErrorLog(str(path))
    log.take_stderr()
    os.write(2, b"from below\n")
    path.rename(tmp_path / "old")
    log.reopen()
    os.write(2, b"from below again\n")
    log.close()
    assert (tmp_path / "old").read_text() == "from below\n"
    assert path.read_text() == "from below again\n"


def test_standard_error_with_syslog_is_nowhere(stderr: None) -> None:
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    log = ErrorLog("syslog")
    log.take_stderr()
    os.write(2, b"lost\n")
    assert read_available(reader) == b""
    log.close()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("level", ["notice", "debug"])
def test_worker_lines_fill_the_limit(level: str, tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    log = ErrorLog(str(path), level=level, limit=600)
    assembler = LineAssembler(log.room_beside(pool_prefix("www") + output_text(4711, "worker", "stdout", "")))
    for line in assembler.feed(b"z" * 5000 + b"\n"):
        log.log("warning", output_text(4711, "worker", "stdout", line), "www")
    log.close()
    lines = path.read_text().splitlines()
    assert {len(line) for line in lines[:-1]} == {600}
    assert all(line.endswith('z"') for line in lines)
    assert path.read_text().count("z") == 5000


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "none/error.log",
            r"failed to open error_log \(.*none/error\.log\): No such file or directory \(2\); create its",
        ),
        ("", r"failed to open error_log \(.*\): Is a directory \(21\); .*name a file in it"),
    ],
)
def test_what_cannot_be_opened(tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(StartError, match=sentence):
        ErrorLog(str(tmp_path / name))


def test_pipe_that_nobody_reads_does_not_block(stderr: None) -> None:
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    log = ErrorLog(None)
    in_time(lambda: write_many(log, 1000))
    assert log.pending_fd() is not None
    assert os.get_blocking(2), "the flag is the terminal's or pipe's, other processes would see it"
    data = drain(log, reader)
    lines = data.decode().splitlines()
    assert all(ENTRY.fullmatch(line) for line in lines)
    kept = [int(line.split()[4]) for line in lines[:-1]]
    assert kept == list(range(len(kept)))
    assert f" {1000 - len(kept)} log lines were dropped" in lines[-1]
    assert len(data) > BUFFER_MAX
    assert log.pending_fd() is None
    log.close()
    os.close(reader)
    os.close(writer)


def test_pipe_without_reader_is_survived(stderr: None) -> None:
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    log = ErrorLog(None)
    os.close(reader)
    write_many(log, 3)
    assert log.pending_fd() is None
    log.close()
    os.close(writer)


def test_fifo_without_reader_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    made: list[ErrorLog] = []
    in_time(lambda: made.append(ErrorLog(str(path))))
    log = made[0]
    in_time(lambda: write_many(log, 1000))
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    lines = drain(log, reader).decode().splitlines()
    assert lines[0].split()[4] == "0"
    assert any("log lines were dropped" in line for line in lines[-2:])
    log.close()
    os.close(reader)


def test_stopped_terminal_does_not_block(stderr: None) -> None:
    controller, terminal = os.openpty()
    os.dup2(terminal, 2)
    log = ErrorLog(None)
    in_time(lambda: write_many(log, 300))
    assert b"NOTICE: line 0 " in drain(log, controller)
    log.close()
    os.close(controller)
    os.close(terminal)


def test_lines_to_the_journal_have_a_priority_and_no_time(stderr: None) -> None:
    ours, journal = socket.socketpair()
    os.dup2(ours.fileno(), 2)
    found = os.fstat(2)
    log = ErrorLog(None, journal_stream=f"{found.st_dev}:{found.st_ino}")
    log.warning("one")
    log.log("error", "Traceback\n<0>evil", "www")
    log.raw("<0>printed")
    other = ErrorLog(None, journal_stream=f"{found.st_dev}:{found.st_ino + 1}")
    other.notice("not the journal")
    journal.settimeout(60)
    *lines, last = journal.recv(65536).decode().splitlines()
    assert lines == [
        "<4>WARNING: one",
        "<3>ERROR: [pool www] Traceback",
        f"<3>ERROR: [pool www] {INDENT}<0>evil",
        "<5>\\x3c0>printed",
    ]
    assert re.fullmatch(r"\[\d\d-\w{3}-\d{4} [\d:]{8}\] NOTICE: not the journal", last)
    log.close()
    other.close()
    ours.close()
    journal.close()


def test_socket_as_standard_error_does_not_block(stderr: None) -> None:
    ours, journal = socket.socketpair()
    os.dup2(ours.fileno(), 2)
    log = ErrorLog(None)
    in_time(lambda: write_many(log, 1500))
    assert log.pending_fd() == 2
    assert drain(log, journal.fileno()).startswith(b"[")
    journal.close()
    write_many(log, 2)
    log.close()
    ours.close()


def test_full_disk_does_not_raise_and_does_not_spin(tmp_path: Path) -> None:
    log = ErrorLog("/dev/full")
    in_time(lambda: write_many(log, 1000))
    assert log.pending_fd() is None, "/dev/full polls writable: the event loop would spin"
    log.close()


def test_after_a_full_disk_nothing_is_torn(tmp_path: Path) -> None:
    limit = 5000
    path = tmp_path / "error.log"
    child = (
        "import resource, signal, sys\n"
        "from fpm.log.error import ErrorLog\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"log = ErrorLog({str(path)!r})\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))\n"
        "for number in range(400): log.notice(f'line {number} ' + 'x' * 900)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "log.notice('room again')\n"
        "log.close()\n"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", child]) == 0
    lines = path.read_text().splitlines()
    assert all(ENTRY.fullmatch(line) for line in lines)
    assert any("log lines were dropped" in line for line in lines[-2:])


def test_syslog_datagrams(tmp_path: Path) -> None:
    daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    daemon.settimeout(NO_TIME)
    address = str(tmp_path / "log")
    target = SyslogTarget(address)
    log = log_to(target)
    log.notice("nobody is there yet")
    daemon.bind(address)
    log.warning("first\nsecond")
    head = rb"<132>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d shop\[%d\]: " % os.getpid()
    assert re.fullmatch(head + rb"\[WARNING\] first", daemon.recv(2000))
    assert re.fullmatch(head + rb"\[WARNING\]   second", daemon.recv(2000))
    assert b"] 1 log lines were dropped" in daemon.recv(2000)
    in_time(lambda: write_many(log, 1000))
    assert log.pending_fd() is not None
    wait_until(lambda: read_and_flush(daemon, log), message="the rest never came")
    log.close()
    daemon.close()


def read_and_flush(daemon: socket.socket, log: ErrorLog) -> bool:
    """Read all that has come, and have more sent; whether that was the rest."""
    while select.select([daemon], [], [], 0)[0]:
        daemon.recv(2000)
    log.flush()
    return log.pending_fd() is None


def log_to(target: SyslogTarget) -> ErrorLog:
    """An ErrorLog as for error_log = syslog, but to a socket of this test instead of the machine's /dev/log."""
    log = ErrorLog("syslog", ident="shop", facility="local0")
    target.say_dropped = log._target.say_dropped
    log._target.close()
    log._target = target
    return log


def test_device_names_mean_the_own_descriptors(stderr: None, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    log = ErrorLog("/dev/stderr")
    log.notice("here")
    assert drain(log, reader).endswith(b"here\n")
    log.reopen()
    log.notice("again")
    assert drain(log, reader).endswith(b"again\n")
    log.close()
    os.close(reader)
    os.close(writer)


def test_lines_of_two_writers_do_not_mix(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    one, two = FileTarget(path), FileTarget(path)
    for _ in range(100):
        one.write(b"1" * 1500 + b"\n")
        two.write(b"2" * 700 + b"\n")
    one.close()
    two.close()
    assert {len(set(line)) for line in Path(path).read_text().splitlines()} == {1}


def test_json_has_an_object_in_each_line_and_a_traceback_in_one(tmp_path: Path) -> None:
    log = ErrorLog(str(tmp_path / "log"), level="notice", form="json", limit=512)
    log.debug("not this")
    log.log("WARNING", 'Traceback:\n  "x" \x1b[31m\udc80', "shop", {"event": "worker_died", "pid": 7})
    log.raw('{"level": "alert"}', "shop", {"stream": "stdout"})
    log.alert("x" * 1_000_000)
    log.close()
    first, output, long = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {
        "level": "warning",
        "pool": "shop",
        "event": "worker_died",
        "pid": 7,
        "message": 'Traceback:\n  "x" \\x1b[31m\\x80',
    }
    assert (output["level"], output["stream"], output["message"]) == ("notice", "stdout", '{"level": "alert"}')
    assert (long["level"], len(long["message"])) == ("alert", 65536)
