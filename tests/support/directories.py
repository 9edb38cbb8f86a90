"""Directories of tests that every user may enter; what is left of them is told by the fixture `nothing_left_behind`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import wait_until

PREFIX = f"pyfpm-test-{os.getpid()}-"


def open_directory() -> Path:
    """A new directory that every user may enter (pytest's tmp_path is closed to the users of pools)."""
    directory = Path(tempfile.mkdtemp(prefix=PREFIX))
    directory.chmod(0o755)
    return directory


def close_directory(directory: Path) -> None:
    """Remove a directory, into which a process that has just been killed may still have written."""

    def is_gone() -> bool:
        shutil.rmtree(directory, ignore_errors=True)
        return not directory.exists()

    wait_until(is_gone, message=f"{directory} cannot be removed")


@contextmanager
def opened_directory() -> Iterator[Path]:
    """A new directory for the time of a block."""
    directory = open_directory()
    try:
        yield directory
    finally:
        close_directory(directory)


def open_directories() -> set[Path]:
    """Those that this process has made and not removed."""
    directory = tempfile.gettempdir()
    return {Path(directory, name) for name in os.listdir(directory) if name.startswith(PREFIX)}
