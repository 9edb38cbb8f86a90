"""`import fpm` in Pythons that an application starts: multiprocessing's spawn and forkserver, subprocess.

fpm itself comes to this process in memory, which no other one can reach: where root may trace, the processes of a pool
are closed to each other in /proc. So a small file is put where temporary files are, one for each user and version, and
named at the end of sys.path and of the PYTHONPATH that processes inherit. It outlives this process, as may those who
need it, and is the same for all generations. A Python that has a pyfpm of its own uses that.
"""

from __future__ import annotations

import os
import stat
import sys
import zlib
from importlib.abc import ResourceLoader

PLACES = ("/tmp", "/var/tmp", "/dev/shm")
"""Where it may be put, after TMPDIR. In a jail there may be none: then other Pythons have no fpm."""


def offer_library() -> None:
    """Let the Pythons that are started from here find fpm."""
    importer = sys.modules["fpm"].__loader__
    if not isinstance(importer, ResourceLoader):
        return  # an installed fpm, not the bundle's: they have it, too
    path = _place(importer.get_data(""))
    if path is None:
        return
    sys.path.append(path)
    # Not into os.environ, which is what the pool's file says it is: processes inherit it all the same.
    os.putenv("PYTHONPATH", ":".join(filter(None, [os.environ.get("PYTHONPATH"), path])))


def _place(data: bytes) -> str | None:
    name = f"pyfpm-import-{os.geteuid()}-{zlib.crc32(data):08x}.zip"
    for directory in filter(None, [os.environ.get("TMPDIR"), *PLACES]):
        path = os.path.join(os.path.abspath(directory), name)
        if _is_ours(path, data) or (_write(path, data) and _is_ours(path, data)):
            return path
    return None


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
    new = f"{path}.{os.getpid()}"
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
