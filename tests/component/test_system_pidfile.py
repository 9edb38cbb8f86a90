"""The pid file on a real file system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fpm.errors import StartError
from fpm.system.pidfile import read_pid_file, remove_pid_file, write_pid_file


def test_written_read_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "pyfpm.pid"
    path.write_text("999\n")
    old = os.umask(0o077)
    try:
        write_pid_file(str(path), 4711)
    finally:
        os.umask(old)
    assert path.read_text() == "4711\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["pyfpm.pid"]
    assert read_pid_file(str(path)) == 4711
    remove_pid_file(str(path), 4711)
    assert os.listdir(tmp_path) == []
    remove_pid_file(str(path), 4711)


def test_file_of_a_newer_master_stays(tmp_path: Path) -> None:
    path = tmp_path / "pyfpm.pid"
    write_pid_file(str(path), 2)
    remove_pid_file(str(path), 1)
    assert path.exists()


def test_draft_put_there_by_another_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f"pyfpm.pid.{os.getpid()}.new").symlink_to(victim)
    write_pid_file(str(tmp_path / "pyfpm.pid"), 7)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("text", ["", "x", "-5", "0", "12 13"])
def test_what_is_no_pid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "pyfpm.pid"
    path.write_text(text)
    assert read_pid_file(str(path)) is None
    assert read_pid_file(str(tmp_path / "none")) is None


def test_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert read_pid_file(str(tmp_path / "fifo")) is None


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none/x.pid", r"Unable to create the PID file \(.*x\.pid\): No such file or directory \(2\); create its dir"),
        ("directory", r"Unable to create the PID file \(.*\): Is a directory \(21\); .*name a file in it"),
    ],
)
def test_what_cannot_be_written(name: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(StartError, match=sentence):
        write_pid_file(str(tmp_path / name), 1)
    assert os.listdir(tmp_path) == ["directory"]
