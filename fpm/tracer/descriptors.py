"""What the descriptors of a process are, told while it stands still: files, and of sockets who is at the other end.

The peer of a socket is asked of the kernel by a copy of the descriptor (pidfd_getfd(2)), in whatever network namespace
it is; that takes microseconds and holds nothing up. Only where that is refused, or a connection is not made yet, the
tables in /proc/PID/net are read, after the process goes on, since they are as long as the machine has connections.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time

from fpm.system.addresses import internet_address, read_table, unix_address
from fpm.tracer.binding import copy_descriptor

FDINFO_MAX = 4096
"""Bytes of /proc/PID/fdinfo/FD that are read."""
WATCHED_MAX = 3
"""Descriptors of an epoll(7) instance that are named."""
TABLES = ("tcp", "tcp6")
TABLE_MAX = 2 << 20
"""Bytes of a table; a connection has 150."""
TABLE_TIME = 0.2
"""Seconds for both tables."""
_SOCKET = re.compile(r"socket:\[(\d{1,19})\]")
_WATCHED = re.compile(rb"^tfd:\s+(\d{1,9}) ", re.MULTILINE)


class Descriptors:
    """Looks at the descriptors of one process. It is made before the process is stopped."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._tables: list[int] = []
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError:  # it is gone, which others find out
            self._pidfd = -1

    def link(self, fd: int) -> str:
        """Name a descriptor as /proc/PID/fd does, a connected socket by its peer; "" if it is not told."""
        try:
            link = os.readlink(f"/proc/{self._pid}/fd/{fd}")
        except OSError:
            return ""
        return (self._peer(fd) or link) if link.startswith("socket:[") else link

    def watched(self, fd: int) -> list[int]:
        """List what an epoll instance watches, the first ones."""
        try:
            with open(f"/proc/{self._pid}/fdinfo/{fd}", "rb", buffering=0) as file:
                found = _WATCHED.findall(file.read(FDINFO_MAX))
        except OSError:
            return []
        return [int(number) for number in found[:WATCHED_MAX]]

    def keep_tables(self, phrases: dict[int, str]) -> None:
        """Open the tables, as long as there are rights, if there is a socket in these phrases that is not named."""
        if any(_SOCKET.search(phrase) for phrase in phrases.values()):
            for name in TABLES:
                with contextlib.suppress(OSError):
                    self._tables.append(os.open(f"/proc/{self._pid}/net/{name}", os.O_RDONLY | os.O_CLOEXEC))

    def complete(self, phrases: dict[int, str]) -> dict[int, str]:
        """Name the sockets in phrases that the tables know; the process runs again."""
        wanted = {int(number) for phrase in phrases.values() for number in _SOCKET.findall(phrase)}
        known: dict[int, str] = {}
        end = time.monotonic() + TABLE_TIME
        for fd in self._tables:
            known |= read_table(_read_lines(fd, end), wanted)
            os.close(fd)
        self._tables.clear()

        def name(match: re.Match[str]) -> str:
            return known.get(int(match[1]), match[0])

        return {tid: _SOCKET.sub(name, phrase) for tid, phrase in phrases.items()} if known else phrases

    def close(self) -> None:
        """Close what was opened; the end of the process that looks does it as well."""
        for fd in (self._pidfd, *self._tables):
            if fd >= 0:
                os.close(fd)
        self._pidfd = -1
        self._tables.clear()

    def _peer(self, fd: int) -> str:
        copy = copy_descriptor(self._pidfd, fd) if self._pidfd >= 0 else -1
        if copy < 0:
            return ""
        try:
            same = socket.socket(fileno=copy)
        except OSError:  # a process that shares its descriptors has put something else in its place
            os.close(copy)
            return ""
        with same, contextlib.suppress(OSError):  # not connected: it listens, or waits for its connection
            return _name(same)
        return ""


def _name(same: socket.socket) -> str:
    if same.family == socket.AF_UNIX:
        # What has connected has no name of its own: then it is known by what it has connected to, which is ours.
        return _unix(same.getpeername()) or _unix(same.getsockname())
    if same.family in (socket.AF_INET, socket.AF_INET6):
        host, port = same.getpeername()[:2]
        return internet_address(socket.inet_pton(same.family, host.partition("%")[0]), port)
    return ""


def _unix(name: str | bytes) -> str:
    return unix_address(os.fsencode(name))


def _read_lines(fd: int, end: float) -> list[bytes]:
    """Read a table as far as there is time and room."""
    data = b""
    while len(data) < TABLE_MAX and time.monotonic() < end:
        try:
            more = os.read(fd, 1 << 16)
        except OSError:
            break
        if not more:
            break
        data += more
    return data.splitlines()
