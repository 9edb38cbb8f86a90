"""`import fpm` in Pythons that an application starts: multiprocessing's spawn and forkserver, subprocess.

fpm itself comes to this process in memory, which no other one can reach: where root may trace, the processes of a pool
are closed to each other in /proc. So a small file is put where temporary files are, and named at the end of sys.path
and of the PYTHONPATH that processes inherit. The template removes it at its end, and at its start what killed ones have
left. A Python that has a pyfpm of its own uses that.
"""

from __future__ import annotations

import atexit
import os
import re
import stat
import sys
from contextlib import suppress

PLACES = ("/tmp", "/var/tmp", "/dev/shm")
"""Where it may be put, after TMPDIR. In a jail there may be none: then other Pythons have no fpm."""


def offer_library() -> None:
    """Let the Pythons that are started from here find fpm."""
    read_children = getattr(sys.modules["fpm"].__loader__, "read_children", None)
    if read_children is None:
        return  # an installed fpm, not the bundle's: they have it, too
    path = _place(read_children())
    if path is None:
        return
    atexit.register(_remove, path)  # the first one that is registered, so the last one called
    sys.path.append(path)
    # Not into os.environ, which is what the pool's file says it is: processes inherit it all the same.
    os.putenv("PYTHONPATH", ":".join(filter(None, [os.environ.get("PYTHONPATH"), path])))


def _place(data: bytes) -> str | None:
    prefix = f"pyfpm-import-{os.geteuid()}-{_pid_namespace()}-"
    for directory in filter(None, [os.environ.get("TMPDIR"), *PLACES]):
        directory = os.path.abspath(directory)
        _remove_orphans(directory, prefix)
        path = os.path.join(directory, f"{prefix}{os.getpid()}.zip")
        if _is_ours(path, data) or (_write(path, data) and _is_ours(path, data)):
            return path
    return None


def _pid_namespace() -> int:
    """Identify the namespace in which pids mean something; pools may share a directory, and not the namespace."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # a jail without /proc
        return 0


def _remove_orphans(directory: str, prefix: str) -> None:
    """Remove what templates of this user have left that were killed."""
    with suppress(OSError):
        for name in os.listdir(directory):
            found = re.fullmatch(rf"{prefix}(\d+)\.zip(\.new)?", name)
            if found and not _lives(int(found[1])):
                _remove(os.path.join(directory, name))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it is another user's by now
    return True


def _remove(path: str) -> None:
    with suppress(OSError):  # it is gone, or never was this user's
        os.unlink(path)


def _is_ours(path: str, data: bytes) -> bool:
    """Is it there, whole, and can nobody else change it?"""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(fd)
        mine = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
        return mine and found.st_size == len(data) and os.pread(fd, len(data) + 1, 0) == data
    finally:
        os.close(fd)


def _write(path: str, data: bytes) -> bool:
    """Make it under another name, so that it has its own only when it is whole."""
    new = f"{path}.new"
    _remove(new)
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError:
        return False
    try:
        os.fchmod(fd, 0o644)
        is_whole = os.write(fd, data) == len(data)
        if is_whole:
            os.rename(new, path)
    except OSError:  # the file system is full, or the name is another user's
        is_whole = False
    finally:
        os.close(fd)
    if not is_whole:
        os.unlink(new)
    return is_whole
