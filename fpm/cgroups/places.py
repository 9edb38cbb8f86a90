"""Which group a process is in, and which directory shows it. Pure.

The texts are those of /proc/PID/cgroup (cgroups(7)) and /proc/PID/mountinfo (proc_pid_mountinfo(5)).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from typing import Literal

from fpm.frozen import dataclass

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Membership:
    """A process's memory cgroup, as named in /proc/PID/cgroup."""

    version: Literal[1, 2]
    path: str


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount point of cgroups."""

    version: Literal[1, 2]
    root: str
    """The cgroup at the mount point."""
    point: str


def parse_membership(text: str) -> Membership | None:
    """Parse /proc/PID/cgroup (cgroups(7)): v1 where that has the memory controller, else v2."""
    found = None
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not path.startswith("/"):
            continue
        if "memory" in controllers.split(","):
            return Membership(1, path)
        if not controllers:
            found = Membership(2, path)
    return found


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """Parse /proc/PID/mountinfo (proc_pid_mountinfo(5)) for mounts that may contain memory cgroups."""
    found = []
    for line in text.splitlines():
        front, _, back = line.partition(" - ")
        places, kinds = front.split(" "), back.split(" ")
        if len(places) < 5 or len(kinds) < 3:
            continue
        root, point = (_OCTAL.sub(lambda match: chr(int(match[1], 8)), text) for text in places[3:5])
        if kinds[0] == "cgroup2":
            found.append(Mount(2, root, point))
        elif kinds[0] == "cgroup" and "memory" in kinds[2].split(","):
            found.append(Mount(1, root, point))
    return tuple(found)


def directory_of(membership: Membership, mounts: Iterable[Mount]) -> str | None:
    """Return the directory of a cgroup; None if no mount shows it."""
    for mount in mounts:
        if mount.version != membership.version:
            continue
        root = mount.root.rstrip("/")
        # In a cgroup namespace, paths outside it start with /.. (cgroup_namespaces(7)).
        below = membership.path == mount.root or membership.path.startswith(f"{root}/")
        if below and ".." not in membership.path.split("/"):
            return posixpath.join(mount.point, membership.path[len(root) :].lstrip("/")).rstrip("/")
    return None


def parse_unified(text: str) -> str | None:
    """Return the group of version 2 that /proc/PID/cgroup names; None for a kernel without."""
    for line in text.splitlines():
        if line.startswith("0::/"):
            return line.removeprefix("0::")
    return None


def parse_old_controllers(text: str) -> frozenset[str]:
    """Return the controllers that /proc/PID/cgroup shows in hierarchies of version 1."""
    rows = [line.split(":", 2) for line in text.splitlines()]
    return frozenset(name for row in rows if len(row) == 3 and row[0] != "0" for name in row[1].split(",") if name)
