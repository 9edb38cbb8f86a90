"""Makes, changes and removes groups: directories that only the kernel fills.

They are reached from a descriptor of the directory above, and no links are followed. A lower memory limit of a group in
use may make the caller wait, see fpm.cgroups.write_memory; nothing else does.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

FILE_MAX = 65536
SUBGROUPS_MAX = 100
"""Groups that are removed with a pool's own: whoever has the daemon's own user can make some."""
MOVES_MAX = 10
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@contextmanager
def opened(base: str | int, *names: str) -> Iterator[int]:
    """Open a group below another, name by name.

    Args:
        base: a path, or the descriptor of a group, which stays open.

    Raises:
        OSError: there is none, or one of the names is a link.
    """
    fd = os.open(base, _DIRECTORY) if isinstance(base, str) else os.dup(base)
    try:
        for name in names:
            inner = os.open(name, _DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


def make_group(above: int, name: str) -> bool:
    """Make a group; returns whether it is new.

    Raises:
        OSError: it cannot be made.
    """
    try:
        os.mkdir(name, 0o755, dir_fd=above)
    except FileExistsError:
        return False
    return True


def list_groups(group: int) -> list[str]:
    """List the groups in a group."""
    with os.scandir(group) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def read_file(group: int, name: str) -> str | None:
    """Read a file of a group; None if it is missing."""
    try:
        fd = os.open(name, os.O_RDONLY | _FILE, dir_fd=group)
    except OSError:
        return None
    try:
        return os.read(fd, FILE_MAX).decode("ascii", "replace")
    except OSError:  # the group has been removed meanwhile, or (PSI) the kernel was started without
        return None
    finally:
        os.close(fd)


def write_file(group: int, name: str, text: str) -> None:
    """Write a file of a group.

    Raises:
        OSError: the kernel has no such file, or refuses the text.
    """
    fd = os.open(name, os.O_WRONLY | _FILE, dir_fd=group)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def move_processes(group: int, target: int) -> None:
    """Move all processes of a group into another; those that are made meanwhile, too.

    Raises:
        OSError: one cannot be moved.
    """
    for _ in range(MOVES_MAX):
        # 0: a process that is not to be seen from this pid namespace.
        pids = [pid for pid in (read_file(group, "cgroup.procs") or "").split() if pid != "0"]
        if not pids:
            return
        for pid in pids:
            try:
                write_file(target, "cgroup.procs", pid)
            except ProcessLookupError:
                continue


def remove_group(above: int, name: str) -> bool:
    """Remove a group, and those below it; returns whether it is gone. One that has processes stays."""
    left = [SUBGROUPS_MAX]

    def remove(directory: int, one: str) -> None:
        left[0] -= 1
        try:
            os.rmdir(one, dir_fd=directory)
        except OSError as error:
            if error.errno != errno.EBUSY or left[0] <= 0:
                raise
        else:
            return
        fd = os.open(one, _DIRECTORY, dir_fd=directory)
        try:
            for inner in list_groups(fd):
                remove(fd, inner)
        finally:
            os.close(fd)
        os.rmdir(one, dir_fd=directory)

    try:
        remove(above, name)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
