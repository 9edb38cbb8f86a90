"""What descriptors another process has open, as /proc tells: how many, how many it may have, and what they are.

Nothing of it waits for the process or for a file system. The count and the limit need no rights, the rest those of the
process's user.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress

from fpm.system.addresses import read_table

LISTED_MAX = 65536
"""Descriptors that are counted one by one where the kernel does not say how many there are (before Linux 6.2)."""
LINKS_MAX = 2048
"""Descriptors of which it is read what they are."""
TABLE_MAX = 4 * 1024 * 1024
"""Bytes of a table of connections that are read."""
TARGETS_MAX = 3
"""Kinds of targets that are named."""
TARGET_MAX = 120
"""Characters of each."""
_LIMIT = re.compile(rb"^Max open files +(\d+|unlimited) ", re.MULTILINE)
_SOCKET = re.compile(r"socket:\[(\d{1,20})\]")
_DELETED = " (deleted)"
_MEMORY = "/memfd:"
_OWN = "/memfd:pyfpm-"
"""Of the worker itself, which leaks none."""


def count_open_files(pid: int) -> tuple[int, int] | None:
    """Return how many descriptors a process has, and may have; None if it has ended or is hidden."""
    try:
        used = os.stat(f"/proc/{pid}/fd").st_size or len(_list_descriptors(pid, LISTED_MAX))
        found = _LIMIT.search(_read(f"/proc/{pid}/limits", 8192))
    except OSError:
        return None
    if not used or found is None:
        return None
    return used, int(found[1]) if found[1].isdigit() else 2**63


def find_targets(pid: int) -> tuple[str, ...]:
    """Return what most of its descriptors are, see `group_targets`; empty if that may not be known."""
    with suppress(OSError):
        links = []
        for fd in _list_descriptors(pid, LINKS_MAX):
            with suppress(OSError):  # closed meanwhile
                links.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        return group_targets(links, _peers(pid) if any(map(_SOCKET.fullmatch, links)) else {})
    return ()


def group_targets(links: Iterable[str], peers: Mapping[int, str]) -> tuple[str, ...]:
    """Say what most descriptors are, as in "812 files in /tmp/ (as /tmp/report-88.csv)"; the most frequent first.

    Args:
        links: what they are in the words of /proc/PID/fd.
        peers: to what sockets are connected, by inode.
    """
    names = [_name(link, peers) for link in links if not link.startswith(_OWN)]
    whole = Counter(names)
    groups: Counter[str] = Counter()
    example: dict[str, str] = {}
    for name, count in whole.items():
        # One path many times is itself the finding; many paths in one directory are named by that.
        group = name if count > 1 or not name.startswith("/") else _directory(name)
        groups[group] += count
        example.setdefault(group, name)
    return tuple(_words(group, count, example[group]) for group, count in groups.most_common(TARGETS_MAX))


def _name(link: str, peers: Mapping[int, str]) -> str:
    found = _SOCKET.fullmatch(link)
    if found is not None:
        return peers.get(int(found[1]), "sockets")
    if link.startswith("/"):
        return link.removesuffix(_DELETED)
    return link.partition(":[")[0] + "s" if ":[" in link else link


def _directory(path: str) -> str:
    """Return the directory of a file; of a file in memory (memfd_create) what all of them begin with."""
    return _MEMORY if path.startswith(_MEMORY) else f"{path.rpartition('/')[0]}/"


def _words(group: str, count: int, example: str) -> str:
    shown = example if len(example) <= TARGET_MAX else f"...{example[-TARGET_MAX:]}"
    if group == example:
        return f"{count} times {shown}" if group.startswith("/") and count > 1 else f"{count} {shown}"
    where = "memory" if group == _MEMORY else group[:TARGET_MAX]
    return f"{count} files in {where} (as {shown})" if count > 1 else f"1 {shown}"


def _list_descriptors(pid: int, most: int) -> list[str]:
    with os.scandir(f"/proc/{pid}/fd") as entries:
        return [entry.name for _, entry in zip(range(most), entries, strict=False)]


def _read(path: str, most: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(most)


def _peers(pid: int) -> dict[int, str]:
    """Read the connections of the network that the process is in."""
    found: dict[int, str] = {}
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            found |= parse_connections(_read(f"/proc/{pid}/net/{name}", TABLE_MAX))
    return found


def parse_connections(table: bytes) -> dict[int, str]:
    """Say of what is in /proc/net/tcp or tcp6 to what it is connected, by inode."""
    return {inode: f"connections to {address}" for inode, address in read_table(table.splitlines()).items()}
