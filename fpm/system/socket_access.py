"""Who may connect to a Unix socket: owner, group and mode of its file, and a POSIX access control list (acl(5))."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from fpm.paths.access_lists import ATTRIBUTE, pack_list
from fpm.paths.mounts import no_lists


class NoAccessLists(OSError):
    """The file system has no access control lists; the text is the sentence for the user."""


@dataclass(frozen=True, slots=True)
class SocketAccess:
    """Mode, owner, and access control list of a Unix socket; owner or group None: the process's own."""

    mode: int
    owner: int | None
    group: int | None
    users: tuple[int, ...] = ()
    """In the list, with the right to connect; the next one likewise."""
    groups: tuple[int, ...] = ()

    @property
    def has_list(self) -> bool:
        """Is there an access control list? Owner and group do not count then, as in PHP-FPM."""
        return bool(self.users or self.groups)


def apply_access(pinned: str, access: SocketAccess, directory: os.stat_result) -> None:
    """Give the file of a socket its owner, mode and list.

    Args:
        pinned: a path that means this file and no other (fpm.paths.files.pinned_socket).
        directory: where it lies.

    Raises:
        NoAccessLists: there should be a list.
        OSError: it cannot be done.
    """
    owner, group = (None, None) if access.has_list else (access.owner, access.group)
    own_group = directory.st_gid if directory.st_mode & stat.S_ISGID else os.getegid()
    found = os.stat(pinned)
    wanted = os.geteuid() if owner is None else owner, own_group if group is None else group
    if wanted != (found.st_uid, found.st_gid):
        os.chown(pinned, *wanted)
    if access.has_list:
        _set_list(pinned, pack_list(access.mode, access.users, access.groups))
    elif ATTRIBUTE in _attributes(pinned):
        _set_list(pinned, pack_list(access.mode, (), ()))  # the kernel makes it the mode, and keeps no list
    elif stat.S_IMODE(found.st_mode) != access.mode:
        os.chmod(pinned, access.mode)


def _set_list(pinned: str, value: bytes) -> None:
    try:
        os.setxattr(pinned, ATTRIBUTE, value)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        raise NoAccessLists(error.errno, no_lists(os.readlink(pinned))) from error


def _attributes(path: str) -> list[str]:
    try:
        return os.listxattr(path)
    except OSError:
        return []  # the file system has none
