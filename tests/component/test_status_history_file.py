"""The file of the past: whoever is killed while he writes leaves the copy of before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fpm.paths.files import open_to_keep
from fpm.status.past.file_format import COPY_MAX, HEAD, pack_track
from fpm.status.past.track import Track
from fpm.status_server.history_file import FILE_MAX, HistoryFile


def load(path: Path) -> dict[str, Track]:
    """What a new process finds."""
    fd = open_to_keep(str(path))
    try:
        return HistoryFile(fd, "the file").load()
    finally:
        os.close(fd)


def save(path: Path, *names: str) -> None:
    """A process that finds what is there, writes something and ends."""
    fd = open_to_keep(str(path))
    try:
        file = HistoryFile(fd, "the file")
        file.load()
        file.save({name: pack_track(Track()) for name in names})
    finally:
        os.close(fd)


def test_the_newer_copy_counts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "control.history"
    assert load(path) == {}
    path.chmod(0o644)  # as after a restore
    for names in ("ab", "c", "de"):
        save(path, *names)
        assert "".join(load(path)) == names
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size < FILE_MAX
    assert capfd.readouterr().out == ""


def test_a_kill_while_it_is_written_leaves_the_copy_of_before(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "control.history"
    save(path, "old")
    save(path, "new")
    data = path.read_bytes()
    for cut in (HEAD.size // 2, HEAD.size + 5):  # the second copy is at the beginning
        path.write_bytes(data[:cut].ljust(COPY_MAX, b"\0") + data[COPY_MAX:])
        assert list(load(path)) == ["old"]
    assert capfd.readouterr().out == ""
    save(path, "newest")
    assert list(load(path)) == ["newest"]


def test_something_else_is_left_aside_with_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "control.history"
    path.write_bytes(b"somebody's notes, in more than forty bytes of text\n" * 9)
    assert load(path) == {}
    assert capfd.readouterr().out == "the file: it is no history of pyfpm. The past of the pools is lost\n"
    save(path, "new")
    capfd.readouterr()
    assert list(load(path)) == ["new"]
    assert capfd.readouterr().out == ""


def test_only_a_regular_file_is_opened(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("control.history")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo", "."):
        with pytest.raises(OSError, match=r"link|regular|directory"):
            open_to_keep(str(tmp_path / name))
