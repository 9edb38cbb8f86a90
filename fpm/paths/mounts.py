"""Says on which file system a path lies, and whether that has access control lists, for messages."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from fpm.paths.access_lists import ATTRIBUTE

_ESCAPED = re.compile(r"\\([0-7]{3})")
"""A blank, tab, newline or backslash in /proc/PID/mountinfo (proc(5))."""


def file_system_of(path: str) -> str:
    """Return type and mount point, as in "tmpfs on /run"; "unknown" if the kernel does not say."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return "unknown"
    found = ("unknown", "")
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), before.split(" ")[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found[1]):  # a later one covers an earlier one
            found = after.split(" ")[0], point
    return " on ".join(part for part in found if part)


def has_access_lists(directory: str) -> bool:
    """Has the file system of this directory POSIX access control lists (acl(5))? True where that cannot be seen."""
    try:
        os.getxattr(directory, ATTRIBUTE)
    except OSError as error:
        return error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS)
    return True


def no_lists(path: str) -> str:
    """Say that the file system of this path has no lists, and what to do."""
    return (
        f"its file system ({file_system_of(path)}) has no access control lists. Set listen.group and listen.mode "
        "instead of listen.acl_users and listen.acl_groups, or choose a path elsewhere, as in /run"
    )
