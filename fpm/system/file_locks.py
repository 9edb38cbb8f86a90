"""Which file that a process has open is locked by another one, as /proc tells; for who waits for SQLite.

SQLite does not wait in the kernel: it tries fcntl(2) again and again, and sleeps between. Nothing here waits for the
process or for a file system: the inodes are those of /proc/PID/fdinfo (since Linux 5.14).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress

from fpm.frozen import dataclass

DESCRIPTORS_MAX = 2048
LOCKS_MAX = 1 << 20
"""Bytes of /proc/locks that are read."""
_LOCK = re.compile(
    rb"^\d+: (?:POSIX|OFDLCK) +ADVISORY +(?:READ|WRITE) +(-?\d+) [0-9a-f]+:[0-9a-f]+:(\d+) ", re.MULTILINE
)
_INODE = re.compile(rb"^ino:\t(\d+)$", re.MULTILINE)
_BESIDE = re.compile(r"-(?:shm|wal|journal)$")
_DATABASE = re.compile(r"\.(?:db|db3|sqlite|sqlite3)$")


@dataclass(frozen=True, slots=True)
class LockedFile:
    """A database."""

    path: str
    holder: int = 0
    """The process that has a lock on it; 0: not known, or it has let go meanwhile."""


def find_locked_database(pid: int) -> LockedFile | None:
    """Return the database of SQLite that a process waits for; None if that cannot be told."""
    with suppress(OSError):
        with open("/proc/locks", "rb") as file:
            locks = parse_locks(file.read(LOCKS_MAX))
        with os.scandir(f"/proc/{pid}/fd") as entries:
            names = [entry.name for _, entry in zip(range(DESCRIPTORS_MAX), entries, strict=False)]
        return choose_database(pid, filter(None, (_look(pid, name) for name in names)), locks)
    return None


def parse_locks(table: bytes) -> dict[int, list[int]]:
    """Read /proc/locks: who has locked ranges of a file, by its inode; without those who wait."""
    found: dict[int, list[int]] = {}
    for match in _LOCK.finditer(table):
        found.setdefault(int(match[2]), []).append(int(match[1]))
    return found


def choose_database(
    pid: int, opened: Iterable[tuple[int, str]], locks: Mapping[int, Iterable[int]]
) -> LockedFile | None:
    """Choose the file that another process has locked, or the only one with the name of a database.

    Args:
        opened: inodes and paths of what the process has open.
    """
    databases = set()
    for inode, path in opened:
        name = _BESIDE.sub("", path)
        holder = next((one for one in locks.get(inode, ()) if one != pid), None)
        if holder is not None:
            return LockedFile(name, max(holder, 0))
        if name != path or _DATABASE.search(name):
            databases.add(name)
    return LockedFile(databases.pop()) if len(databases) == 1 else None


def _look(pid: int, fd: str) -> tuple[int, str] | None:
    with suppress(OSError):  # closed meanwhile
        path = os.readlink(f"/proc/{pid}/fd/{fd}")
        if path.startswith("/"):
            with open(f"/proc/{pid}/fdinfo/{fd}", "rb") as file:
                found = _INODE.search(file.read(4096))
            return int(found[1]) if found else 0, path
    return None
