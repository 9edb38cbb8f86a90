"""The pid file: written atomically, readable by everybody."""

from __future__ import annotations

import contextlib
import os

from fpm.errors import StartError, advise
from fpm.paths.files import read_small, remove_file, replace_file


def write_pid_file(path: str, pid: int) -> None:
    """Write the pid in decimal; a reader sees the old file or the new one, never a part.

    Raises:
        StartError: it cannot be written.
    """
    try:
        replace_file(path, b"%d\n" % pid, 0o644)
    except OSError as error:
        reason = advise(error, "set `pid` to another path")
        raise StartError(f"Unable to create the PID file ({path}): {reason}") from error


def read_pid_file(path: str) -> int | None:
    """Read the pid from a file; return None if there is no file or no pid in it."""
    try:
        text = read_small(path, 32).strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) > 0 else None


def remove_pid_file(path: str, pid: int) -> None:
    """Remove the file if it still has our pid: a newer master may have written its own."""
    if read_pid_file(path) == pid:
        with contextlib.suppress(OSError):
            remove_file(path)


class OwnPidFile:
    """The pid file of this process, which a reload may move."""

    def __init__(self) -> None:
        self.path: str | None = None

    def move(self, path: str | None) -> None:
        """Move the file to this path, or remove it for None.

        Raises:
            StartError: it cannot be written there; the old one stays.
        """
        if path == self.path:
            return
        if path is not None:
            write_pid_file(path, os.getpid())
        self.remove()
        self.path = path

    def remove(self) -> None:
        """Remove the file, if there is one."""
        if self.path is not None:
            remove_pid_file(self.path, os.getpid())
        self.path = None
