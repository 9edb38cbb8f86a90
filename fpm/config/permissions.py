"""Decides whether a user can use a file, by the rules of path_resolution(7), without asking the kernel.

Only a process with that identity could ask the kernel, and checking a configuration never changes identity. Pure.
"""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterable
from typing import NamedTuple

from fpm.paths.access_lists import AccessList

READ = 4
WRITE = 2
EXECUTE = 1


class PathComponent(NamedTuple):
    """One component of the path to a file, symbolic links already followed."""

    path: str
    mode: int
    """st_mode; 0: the component does not exist."""
    uid: int
    gid: int
    has_acl: bool
    """The component has a POSIX access control list, so the mode bits alone do not decide."""
    acl: AccessList | None = None
    """That list, if it could be read."""


def obstacle(components: Iterable[PathComponent], uid: int, groups: Collection[int], want: int) -> PathComponent | None:
    """Find the first component that keeps a user from using the last one.

    `want` is READ, WRITE, EXECUTE or their sum, on the last component; the directories before it need EXECUTE (search).
    Components whose access control list cannot be read count as passable. The superuser passes, but cannot execute a
    file without any execute bit.
    """
    parts = list(components)
    for index, component in enumerate(parts):
        if not component.mode:
            return component
        needed = want if index == len(parts) - 1 else EXECUTE
        is_unknown = component.has_acl and component.acl is None
        if not is_unknown and not permits(component, uid, groups, needed):
            return component
    return None


def permits(component: PathComponent, uid: int, groups: Collection[int], want: int) -> bool:
    """Tell whether the mode bits of one component, or its access control list, allow the wanted access."""
    if uid == 0:
        return not (want & EXECUTE) or stat.S_ISDIR(component.mode) or bool(component.mode & 0o111)
    if component.acl is not None:
        return component.acl.permits((component.uid, component.gid), uid, groups, want)
    if component.uid == uid:
        shift = 6
    elif component.gid in groups:
        shift = 3
    else:
        shift = 0
    return (component.mode >> shift) & want == want


def describe(component: PathComponent) -> str:
    """Describe a component for an error: "/root has mode 0700"."""
    return (
        f"{component.path} has mode {stat.S_IMODE(component.mode):04o}"
        if component.mode
        else f"there is no {component.path}"
    )
