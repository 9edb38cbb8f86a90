"""Gives up the rights of a helper process that root has executed, for good, before it reads anything of others."""

from __future__ import annotations

import os

from fpm.system.keyring import load_join_keyring
from fpm.system.prctl import PR_SET_NO_NEW_PRIVS, load_prctl


def drop_rights(uid: int, gid: int) -> None:
    """Become this user and group, without supplementary groups and keys; the process is not dumpable from then on.

    Raises:
        OSError: there is no such id in this user namespace, or this process is not root.
    """
    load_join_keyring()()
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    load_prctl()(PR_SET_NO_NEW_PRIVS, 1)
