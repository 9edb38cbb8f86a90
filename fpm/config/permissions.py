"""Whether a user can use a file: the rules of path_resolution(7) on the results of stat(2), without asking the kernel.

Only an identity that is taken on can ask the kernel, and the check of a configuration takes on none. Pure.
"""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterable
from typing import NamedTuple

READ = 4
WRITE = 2
EXECUTE = 1


class Step(NamedTuple):
    """One component on the way to a file, symbolic links already followed."""

    path: str
    mode: int
    """st_mode; 0: there is nothing."""
    uid: int
    gid: int
    has_acl: bool
    """There is a POSIX access control list, so the mode bits are not the whole truth."""


def obstacle(steps: Iterable[Step], uid: int, groups: Collection[int], want: int) -> Step | None:
    """The first component that keeps a user from using the last one, or None.

    `want` is READ, WRITE, EXECUTE or their sum, on the last component; the directories before it need EXECUTE (search).
    Components with an access control list are taken as passable. The superuser passes, but nothing can be executed that
    has no execute bit.
    """
    way = list(steps)
    for index, step in enumerate(way):
        if not step.mode:
            return step
        needed = want if index == len(way) - 1 else EXECUTE
        if not step.has_acl and not permits(step, uid, groups, needed):
            return step
    return None


def permits(step: Step, uid: int, groups: Collection[int], want: int) -> bool:
    """Whether the mode bits of one component allow what is wanted."""
    if uid == 0:
        return not (want & EXECUTE) or stat.S_ISDIR(step.mode) or bool(step.mode & 0o111)
    if step.uid == uid:
        shift = 6
    elif step.gid in groups:
        shift = 3
    else:
        shift = 0
    return (step.mode >> shift) & want == want


def describe(step: Step) -> str:
    """A component in words, for a complaint: "/root has mode 0700"."""
    return f"{step.path} has mode {stat.S_IMODE(step.mode):04o}" if step.mode else f"there is no {step.path}"
