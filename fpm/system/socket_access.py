"""Who may connect to a Unix socket: owner, group and mode of its file, and a POSIX access control list (acl(5)).

The list is an extended attribute, system.posix_acl_access, in the form that the kernel and libacl share
(linux/posix_acl_xattr.h), so that no library is needed.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fpm.paths.mounts import no_lists

ATTRIBUTE = "system.posix_acl_access"
READ_WRITE = 6
"""connect(2) needs the right to write; both are what PHP-FPM grants."""

_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ID = 0xFFFFFFFF


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


def pack_list(mode: int, users: Iterable[int], groups: Iterable[int]) -> bytes:
    """Pack an access control list as the value of the attribute.

    Args:
        mode: of owner, group and others, who are in each list.
        users: who may connect besides them; `groups` likewise.
    """
    return _VERSION.pack(2) + b"".join(_ENTRY.pack(*entry) for entry in _entries(mode, set(users), set(groups)))


def _entries(mode: int, users: set[int], groups: set[int]) -> Iterator[tuple[int, int, int]]:
    """Yield tag, rights and id, in the order that the kernel demands."""
    yield _USER_OBJ, mode >> 6 & 7, _NO_ID
    for uid in sorted(users):
        yield _USER, READ_WRITE, uid
    yield _GROUP_OBJ, mode >> 3 & 7, _NO_ID
    for gid in sorted(groups):
        yield _GROUP, READ_WRITE, gid
    if users or groups:
        yield _MASK, READ_WRITE | mode >> 3 & 7, _NO_ID
    yield _OTHER, mode & 7, _NO_ID


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
