"""POSIX access control lists (acl(5)) as the kernel keeps them in the extended attribute system.posix_acl_access.

The form is that of linux/posix_acl_xattr.h, which libacl shares, so that no library is needed. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping

from fpm.frozen import dataclass

ATTRIBUTE = "system.posix_acl_access"
READ_WRITE = 6
"""connect(2) needs the right to write; both are what PHP-FPM grants."""

_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ID = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class AccessList:
    """One list; rights are the three bits of a mode."""

    owner: int
    group: int
    other: int
    mask: int
    users: Mapping[int, int]
    groups: Mapping[int, int]

    def permits(self, file: tuple[int, int], uid: int, gids: Collection[int], want: int) -> bool:
        """Decide by the algorithm of acl(5), for a user who is not root.

        Args:
            file: owner and group of the file.
        """
        if uid == file[0]:
            return self.owner & want == want
        if uid in self.users:
            return self.users[uid] & self.mask & want == want
        rights = [self.group] if file[1] in gids else []
        rights += [right for gid, right in self.groups.items() if gid in gids]
        if rights:
            return any(right & self.mask & want == want for right in rights)
        return self.other & want == want


def pack_list(mode: int, users: Iterable[int], groups: Iterable[int]) -> bytes:
    """Pack a list as the value of the attribute.

    Args:
        mode: of owner, group and others, who are in each list.
        users: who may read and write besides them; `groups` likewise.
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


def unpack_list(value: bytes) -> AccessList | None:
    """Read the value of the attribute; None if it is of another version, or cut."""
    if len(value) < _VERSION.size or _VERSION.unpack_from(value)[0] != 2 or (len(value) - _VERSION.size) % _ENTRY.size:
        return None
    single, users, groups = {_MASK: 7}, {}, {}
    for tag, rights, number in _ENTRY.iter_unpack(value[_VERSION.size :]):
        if tag == _USER:
            users[number] = rights
        elif tag == _GROUP:
            groups[number] = rights
        else:
            single[tag] = rights
    if not {_USER_OBJ, _GROUP_OBJ, _OTHER} <= single.keys():
        return None
    return AccessList(single[_USER_OBJ], single[_GROUP_OBJ], single[_OTHER], single[_MASK], users, groups)
