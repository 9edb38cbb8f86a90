"""The rule for every path that pyfpm's own processes use; fpm.paths.files does what it allows.

The daemon is usually root, and pools' users own parts of the file system. A name in a directory that such a user can
write may be a symbolic link, another hard link or a pipe a moment later. So a path is walked, one descriptor after
another, and the last one, that of the directory, is what a file is opened or removed relative to.

Trusted users are root, this process's own user, and the owner of `/` (root, where a user namespace shows another
number for it). What may be done in a directory depends on who can change its entries (see `Trust`). A symbolic link is
followed only where a trusted user has made it in a directory that nobody else can write: /var/run is such a link.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from os.path import dirname
from typing import Self

LINKS_MAX = 40
"""Symbolic links on one path, as in the kernel (MAXSYMLINKS)."""
PINNED = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW


class UnsafePath(OSError):
    """Another user decides what the path means, so this process does nothing there."""

    def __init__(self, sentence: str) -> None:
        super().__init__(errno.ELOOP, sentence)  # what O_NOFOLLOW says


class ForeignDirectory(UnsafePath):
    """It lies in a directory of another user: a process of that user may do what this one must not."""


class Trust(Enum):
    """Who can make, rename and remove the entries of a directory."""

    PRIVATE = "trusted users only"
    STICKY = "everybody, but each only his own (S_ISVTX, as in /tmp)"
    GROUP = "a group; or, if this process is not root, another user: only what belongs to a trusted user is used"
    OPEN = "everybody: only what belongs to a trusted user is used; a pool's logs are its user's"
    FOREIGN = "another user: this process does nothing there"


@dataclass(slots=True)
class Place:
    """A name in a directory, which is open until `close`."""

    path: str
    fd: int
    name: str
    trust: Trust
    directory: os.stat_result
    is_certain: bool
    """Nobody but trusted users can make the path lead to another directory."""
    kernel_link: bool = False
    """The name is a descriptor in /proc/PID/fd: opening it opens what that descriptor is (proc(5))."""
    own_fd: int | None = None
    """It is this process's own descriptor (/dev/stderr)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the directory."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @property
    def for_sockets(self) -> str:
        """A path for bind(2) and connect(2) that leads to this directory whatever happens meanwhile."""
        return self.path if self.is_certain else f"/proc/self/fd/{self.fd}/{self.name}"

    def is_writable_by(self, groups: Collection[int]) -> bool:
        """Does the directory belong to users with these groups rather than to this process?"""
        return self.trust in (Trust.FOREIGN, Trust.OPEN) or (
            self.trust is Trust.GROUP and self.directory.st_gid in groups
        )

    def refuse_foreign(self) -> None:
        """Raise unless this process may make and remove entries here.

        Raises:
            ForeignDirectory: it may not.
        """
        if self.trust is Trust.FOREIGN:
            raise ForeignDirectory(f"{dirname(self.path)} belongs to another user (uid {self.directory.st_uid})")

    def entry(self) -> os.stat_result:
        """Look at the entry itself.

        Raises:
            FileNotFoundError: there is none.
        """
        return os.stat(self.name, dir_fd=self.fd, follow_symlinks=self.kernel_link)

    def remove(self, inode: tuple[int, int] | None = None) -> None:
        """Remove the entry; with `inode`, only if it is still that one (device and number).

        Raises:
            OSError: there is none, or it cannot be removed.
        """
        found = self.entry()
        if inode is None or (found.st_dev, found.st_ino) == inode:
            os.unlink(self.name, dir_fd=self.fd)


def trusted_users() -> frozenset[int]:
    """Return the users that may decide what a path means."""
    return frozenset({0, os.geteuid(), os.stat("/").st_uid})


def trust_in(directory: os.stat_result, trusted: Collection[int], *, is_root: bool) -> Trust:
    """Say who can change the entries of a directory. An access control list shows in the group's bits (acl(5)).

    Where this process is not root there is nobody else who could act in its place: it uses a directory of another user
    as it uses one of a group.
    """
    belongs_to_us = directory.st_uid in trusted
    if belongs_to_us and not directory.st_mode & 0o022:
        return Trust.PRIVATE
    if belongs_to_us and directory.st_mode & stat.S_ISVTX:
        return Trust.STICKY
    if (belongs_to_us and not directory.st_mode & 0o002) or not is_root:
        return Trust.GROUP
    return Trust.OPEN if belongs_to_us else Trust.FOREIGN


def find(path: str, *, follow: bool) -> Place:
    """Walk to the directory of a path; the entry itself need not exist. The caller closes the place.

    Args:
        follow: a symbolic link as the last part is followed, too, if it may be.

    Raises:
        UnsafePath: a symbolic link on the way may have been made by another user.
        OSError: a directory does not exist or cannot be searched.
    """
    walk = _Walk(path)
    try:
        return walk.go(follow=follow)
    except BaseException:
        os.close(walk.fd)
        raise


class _Walk:
    """One walk: where it is, and what is still to come."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path) if not path.startswith("/") else path
        self._todo = self._path.split("/")[::-1]
        self._here: list[str] = []
        self._links = 0
        self._is_certain = True
        self._trusted = trusted_users()
        self.fd = os.open("/", PINNED | os.O_DIRECTORY)

    def go(self, *, follow: bool) -> Place:
        """Walk to the last part."""
        while True:
            name = self._todo.pop()
            is_last = not any(part not in ("", ".") for part in self._todo)
            if name in ("", "."):
                if is_last:
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self._path)
                continue
            found = os.fstat(self.fd)
            trust = trust_in(found, self._trusted, is_root=os.geteuid() == 0)
            self._is_certain = self._is_certain and trust in (Trust.PRIVATE, Trust.STICKY)
            if is_last and name == "..":
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self._path)
            owner = self._owner_of_link(name) if follow or not is_last else None
            if owner is None and is_last:
                return Place(self._path, self.fd, name, trust, found, self._is_certain)
            if owner is None:
                self._enter(name)
            else:
                self._refuse_untrusted(name, owner, trust)
                if self._is_descriptor_of_a_process():
                    own = int(name) if is_last and self._here[1] == str(os.getpid()) else None
                    return Place(self._path, self.fd, name, trust, found, self._is_certain, True, own)
                self._follow(name)

    def _owner_of_link(self, name: str) -> int | None:
        try:
            found = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found.st_uid if stat.S_ISLNK(found.st_mode) else None

    def _refuse_untrusted(self, name: str, owner: int, trust: Trust) -> None:
        if trust is Trust.PRIVATE and owner in self._trusted:
            return
        where = "/" + "/".join([*self._here, name])
        reason = f"{where} is a symbolic link that another user may have made; name what it leads to"
        raise UnsafePath(reason) if trust is Trust.STICKY else ForeignDirectory(reason)

    def _is_descriptor_of_a_process(self) -> bool:
        return self._here[:1] == ["proc"] and self._here[2:] == ["fd"]

    def _follow(self, name: str) -> None:
        self._links += 1
        if self._links > LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._path)
        target = os.readlink(name, dir_fd=self.fd)
        if target.startswith("/"):
            os.close(self.fd)
            self.fd = os.open("/", PINNED | os.O_DIRECTORY)
            self._here = []
        self._todo += target.split("/")[::-1]

    def _enter(self, name: str) -> None:
        following = os.open(name, PINNED | os.O_DIRECTORY, dir_fd=self.fd)
        os.close(self.fd)
        self.fd = following
        if name == "..":
            self._here = self._here[:-1]
        else:
            self._here.append(name)


@dataclass(frozen=True, slots=True)
class Opener:
    """Says who opens or makes the file of a path."""

    is_pool: bool = False
    """The pool's user does, not this process."""
    refusal: str = ""
    """Why nobody does."""
    warning: str = ""
    """Who else can make and remove files there."""


def who_opens(path: str, groups: Collection[int] | None) -> Opener:
    """Say who opens a file: this process, or the pool's user where he may make and remove files.

    Args:
        groups: of the pool's processes; None: there is no pool, or it has no user of its own.
    """
    try:
        with find(path, follow=True) as place:
            if place.own_fd is not None:
                return Opener()
            if groups is not None and place.is_writable_by(groups):
                return Opener(is_pool=True)
            place.refuse_foreign()
            is_open = place.trust is Trust.OPEN
            return Opener(warning=f"every user can write to {dirname(place.path)}" if is_open else "")
    except ForeignDirectory as error:
        return Opener(refusal=str(error.strerror)) if groups is None else Opener(is_pool=True)
    except UnsafePath as error:
        return Opener(refusal=str(error.strerror))
    except OSError:
        return Opener()  # it leads nowhere: whoever opens it says so
