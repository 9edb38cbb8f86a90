"""Looks at the groups of this machine. Nothing is changed, only read."""

from __future__ import annotations

import os

from fpm.cgroups.places import Membership, directory_of, parse_mounts, parse_old_controllers, parse_unified
from fpm.cgroups.support import UNIFIED, Support, find_base, not_delegated

FILE_MAX = 1 << 20
MARKS = ("trusted.delegate", "user.delegate")
"""Extended attributes that systemd sets; the first can be read by root alone."""


def look_at_support(proc: str = "/proc/self") -> Support:
    """Find out what the calling process may do with groups."""
    said, mounts = _read(f"{proc}/cgroup"), parse_mounts(_read(f"{proc}/mountinfo"))
    path, unified = parse_unified(said), [mount for mount in mounts if mount.version == 2]
    if path is None or not unified:
        sentence = f"cgroup v2 is not mounted on this machine, and cgroup v1 is not supported: {UNIFIED}"
        return Support(missing=sentence, old=parse_old_controllers(said))

    def directory(group: str) -> str | None:
        return directory_of(Membership(2, group), unified)

    base = find_base(path, lambda group: _is_marked(directory(group)), is_root=os.geteuid() == 0)
    if base is None:
        return not_delegated(path)
    place = directory(base)
    if place is None:
        return Support(missing=f"no mount of cgroup v2 shows the cgroup of this process, {base}")
    if not os.access(place, os.W_OK):
        return Support(missing=f"{place} cannot be written: mounted read-only (most containers), or another user's")
    controllers = frozenset(_read(f"{place}/cgroup.controllers").split())
    # The root of all groups is the only one without this file.
    is_top = not os.path.exists(f"{place}/cgroup.type")
    return Support(place, controllers, parse_old_controllers(said), is_top)


def _is_marked(directory: str | None) -> bool:
    if directory is None:
        return False
    for name in MARKS:
        try:
            if os.getxattr(directory, name) == b"1":
                return True
        except OSError:  # ENODATA: it is not there; EPERM, ENOTSUP: it cannot be
            continue
    return False


def _read(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    with open(fd, encoding="utf-8", errors="surrogateescape") as file:
        return file.read(FILE_MAX)
