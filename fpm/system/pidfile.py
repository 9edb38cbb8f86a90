"""The pid file: written atomically, readable by everybody."""

from __future__ import annotations

import contextlib
import os

from fpm.errors import StartError, advise


def write_pid_file(path: str, pid: int) -> None:
    """Write the pid in decimal; a reader sees the old file or the new one, never a part.

    Raises:
        StartError: it cannot be written.
    """
    draft = f"{path}.{pid}.new"
    try:
        # A file that another process has put there is removed, not followed.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, b"%d\n" % pid)
            os.fchmod(fd, 0o644)
        finally:
            os.close(fd)
        os.rename(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        reason = advise(error, "set `pid` to another path")
        raise StartError(f"Unable to create the PID file ({path}): {reason}") from error


def read_pid_file(path: str) -> int | None:
    """Read the pid from a file; return None if there is no file or no pid in it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        text = os.read(fd, 32).strip()
    except OSError:
        return None
    finally:
        os.close(fd)
    return int(text) if text.isdigit() and int(text) > 0 else None


def remove_pid_file(path: str, pid: int) -> None:
    """Remove the file if it still has our pid: a newer master may have written its own."""
    if read_pid_file(path) == pid:
        with contextlib.suppress(OSError):
            os.unlink(path)


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
