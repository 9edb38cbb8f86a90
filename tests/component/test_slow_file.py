"""A slow log's file in trouble: full, removed, nobody reads it. Nothing waits, and it is said once."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpm.log.error import ErrorLog
from fpm.log.target import BUFFER_MAX
from fpm.master.core import Core, EventSink, log_reader
from fpm.master.loop.loop import Loop
from fpm.master.processes.log_opener import LogOpener
from fpm.master.slowlog.slow_file import SlowFile, SlowFiles
from fpm.stacks.text.format import format_entry
from fpm.stacks.text.read import read_entries
from tests.support.waiting import does_not_block, wait_until
from tests.unit.slowlog.entries import QUERY, make

"""Seconds in which anybody who does not wait has written it all."""
ENTRY = format_entry(make(*[QUERY] * 50), "text", 50).encode()


class Place:
    """A directory, and the master's loop and error log in it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "slow.log"
        self._said = directory / "error.log"
        self.loop = Loop(pytest.fail)
        self.log = ErrorLog(str(self._said))
        self.sink = EventSink(time.time, log_reader(self.log))
        core = Core(self.loop, self.log, self.sink, {}, time.time)
        self.files = SlowFiles(core, LogOpener(core))

    def open(self) -> SlowFile:
        return self.files.take(str(self.path), None, "www")

    def said(self) -> list[str]:
        """The lines of the error log without their time."""
        return [line.partition("] ")[2] for line in self._said.read_text().splitlines()]

    def close(self) -> None:
        self.log.close()
        self.loop.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def count(path: Path) -> int:
    return sum(1 for _ in read_entries([path.read_bytes()]))


@pytest.mark.root
def test_a_full_disk(place: Place, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
    try:
        place.path = disk / "slow.log"
        ballast = disk / "ballast"
        file = place.open()
        assert file.write(ENTRY, "www")
        for turn in (1, 2):
            filled = subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=4k"], capture_output=True, check=False)
            assert b"No space left" in filled.stderr
            before = place.path.read_bytes().count(b"\n\n")
            for _ in range(20):
                file.write(ENTRY, "www")
            assert not file.write(ENTRY, "www")
            assert len([line for line in place.said() if "No space left on device" in line]) == turn
            ballast.unlink()
            assert file.write(ENTRY, "www")
            assert count(place.path) >= before + 20
            assert place.said()[-1] == f"NOTICE: [pool www] slowlog({place.path}) is writable again"
            place.path.write_bytes(b"")
            assert file.reopen("www")
        place.files.give_back(file)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_what_does_not_fit_into_memory_is_dropped(place: Place) -> None:
    place.path = Path("/dev/full")
    file = place.open()
    does_not_block(lambda: [file.write(ENTRY, "www") for _ in range(20 * BUFFER_MAX // len(ENTRY))])
    (line,) = place.said()
    assert line == (
        "ERROR: [pool www] unable to write to slowlog(/dev/full): No space left on device (28); "
        "free some space on the file system. Entries that cannot be kept are dropped"
    )
    place.files.give_back(file)


def test_a_removed_file(place: Place, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    place.path = logs / "slow.log"
    file = place.open()
    assert place.path.stat().st_mode & 0o777 == 0o600
    assert file.write(ENTRY, "www")
    place.path.unlink()
    assert file.write(ENTRY, "www")
    assert count(place.path) == 1
    assert place.said() == [f"NOTICE: [pool www] slowlog({place.path}) was removed and has been recreated"]
    shutil.rmtree(logs)
    for _ in range(3):
        assert not file.write(ENTRY, "www")
    assert len(place.said()) == 2
    assert place.said()[-1].startswith(f"ERROR: [pool www] slowlog({place.path}) was removed and cannot be recreated")
    assert not file.reopen("www")
    assert "unable to re-open slowlog" in place.said()[-1]
    logs.mkdir()
    assert file.write(ENTRY, "www")
    assert count(place.path) == 1
    place.files.give_back(file)


def test_a_directory_in_the_way(place: Place, tmp_path: Path) -> None:
    file = place.open()
    rotated = tmp_path / "slow.log.1"
    place.path.rename(rotated)
    place.path.mkdir()
    assert not file.reopen("www")
    assert place.said() == [
        f"ERROR: [pool www] unable to re-open slowlog({place.path}: Is a directory (21)); keeping the previous file"
    ]
    assert file.write(ENTRY, "www")
    assert count(rotated) == 1
    place.path.rmdir()
    assert file.reopen("www")
    assert file.write(ENTRY, "www")
    assert (count(rotated), count(place.path)) == (1, 1)
    place.files.give_back(file)


def test_a_fifo(place: Place) -> None:
    """Nobody reads it, somebody begins to, and goes away again."""
    os.mkfifo(place.path)
    file = place.open()
    wakeups = place.loop.wakeups
    does_not_block(lambda: [file.write(ENTRY, "www") for _ in range(20 * BUFFER_MAX // len(ENTRY))])
    assert place.loop.wakeups == wakeups
    (line,) = place.said()
    assert "its reader does not read (11); start its reader again" in line
    reader = os.open(place.path, os.O_RDONLY | os.O_NONBLOCK)
    got = bytearray()

    def drain() -> bool:
        place.loop.call_later(0.0, lambda: None)
        place.loop.run_once()
        try:
            got.extend(os.read(reader, 1 << 20))
        except BlockingIOError:
            return len(place.said()) > 1
        return False

    wait_until(drain)
    assert place.said()[-1].endswith("is writable again")
    assert len(got) % len(ENTRY) == 0
    assert len(list(read_entries([bytes(got)]))) == len(got) // len(ENTRY) > BUFFER_MAX // len(ENTRY)
    os.close(reader)
    place.files.give_back(file)


def test_the_reader_of_a_fifo_goes_away(place: Place) -> None:
    os.mkfifo(place.path)
    reader = os.open(place.path, os.O_RDONLY | os.O_NONBLOCK)
    file = place.open()
    assert file.write(ENTRY, "www")
    os.close(reader)
    for _ in range(3):
        assert not file.write(ENTRY, "www")
    (line,) = place.said()
    assert "Broken pipe (32); start its reader again" in line
    reader = os.open(place.path, os.O_RDONLY | os.O_NONBLOCK)
    assert file.write(ENTRY, "www")
    assert os.read(reader, 1 << 20).endswith(ENTRY)
    os.close(reader)
    place.files.give_back(file)


def test_pools_share_a_file(place: Place) -> None:
    one, two = place.open(), place.open()
    assert one is two
    big = format_entry(make(*[QUERY] * 5000), "text", 5000).encode()
    assert one.write(big, "www")
    assert two.write(ENTRY, "shop")
    assert [len(entry.trace.threads[0].frames) for entry in read_entries([place.path.read_bytes()])] == [5000, 50]
    place.files.give_back(one)
    assert two.write(ENTRY, "shop")
    place.files.give_back(two)
    another = place.open()
    assert another is not one
    place.files.give_back(another)
