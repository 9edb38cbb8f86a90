"""Whether a daemon may make groups here, and what to do where it may not. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection

from fpm.cgroups.bounds import MASTER, is_daemon_group
from fpm.frozen import dataclass

UNIFIED = "start the kernel with systemd.unified_cgroup_hierarchy=1"
_OLD_NAMES = {"io": "blkio"}
"""What a controller is called in version 1, where that differs."""


@dataclass(frozen=True, slots=True)
class Support:
    """What this process has of cgroup v2."""

    base: str = ""
    """The directory in which it may make groups; "" if there is none."""
    controllers: frozenset[str] = frozenset()
    """That may be had there."""
    old: frozenset[str] = frozenset()
    """Controllers in hierarchies of version 1."""
    is_top: bool = False
    """The base is the root of all groups, which may have processes beside groups with controllers."""
    missing: str = ""
    """Why there is no base, as a sentence without its end."""
    depends_on_start: bool = False
    """A daemon that is started elsewhere (as a service) may have one."""


def find_base(path: str, is_delegated: Callable[[str], bool], *, is_root: bool) -> str | None:
    """Find the group in which a process may make others; None if there is none.

    It is its own, or the next above where that has been left free (systemd's DelegateSubgroup=, or this program's own
    doing). systemd marks the one that it delegates; in a container, or without systemd, root has the whole tree.

    Args:
        path: the group of the process.
        is_delegated: tells whether a group is marked so.
    """
    above = posixpath.dirname(path)
    candidates = [path, above] if path != "/" else [path]
    if posixpath.basename(path) == MASTER and is_daemon_group(posixpath.basename(above)):
        candidates = [posixpath.dirname(above)]
    for candidate in candidates:
        if is_delegated(candidate) or (candidate == candidates[0] == "/" and is_root):
            return candidate
    return None


def not_delegated(path: str) -> Support:
    """Say that a process is in a group which is not its own."""
    sentence = (
        f"the cgroup of this process, {path}, is not delegated to it. Write Delegate=yes below [Service] in the unit "
        "of pyfpm (systemctl edit pyfpm), and restart it; a container needs a cgroup namespace of its own"
    )
    return Support(missing=sentence, depends_on_start=path.endswith(".scope"))


def explain_missing(controller: str, support: Support) -> str:
    """Say why a controller cannot be had, as a sentence without its end; "" if it can."""
    if controller in support.controllers:
        return ""
    there = spell(support.controllers)
    if _OLD_NAMES.get(controller, controller) in support.old:
        return (
            f"the controller {controller} is in cgroup v1 on this machine, which is not supported (cgroup v2 at "
            f"{support.base} has {there}): {UNIFIED}"
        )
    return (
        f"cgroup v2 at {support.base} has no controller {controller}, only {there}. It must be in "
        "cgroup.subtree_control of each group above (Delegate=yes does that), and the kernel must have it"
    )


def spell(controllers: Collection[str]) -> str:
    """Write a list of controllers."""
    return " ".join(sorted(controllers)) or "none"
