"""As whom the status process runs: as nobody, unless a pool does; a pool's user could stop it, or take its place."""

from __future__ import annotations

import pwd
from collections.abc import Callable, Collection

USER = "nobody"
NOBODY = 65534
"""Where there is no such user (the kernel's overflow id, proc(5))."""
SPARE = range(65533, 61184, -1)
"""Ids that distributions give to nobody (systemd's "Users, Groups, UIDs and GIDs"): above its dynamic users."""


def choose_ids(nobody: tuple[int, int], taken: Collection[int], is_known: Callable[[int], bool]) -> tuple[int, int]:
    """Choose user and group. Pure.

    Args:
        nobody: that user's.
        taken: users of pools.
        is_known: tells whether the system has a user of this id.
    """
    if nobody[0] not in taken:
        return nobody
    uid = next(uid for uid in SPARE if uid not in taken and not is_known(uid))
    return uid, uid


def status_ids(taken: Collection[int]) -> tuple[int, int]:
    """Choose user and group for the status process on this machine."""
    try:
        entry = pwd.getpwnam(USER)
        nobody = entry.pw_uid, entry.pw_gid
    except KeyError:
        nobody = NOBODY, NOBODY
    return choose_ids(nobody, taken, _is_known)


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
