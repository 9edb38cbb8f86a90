"""System calls for namespaces and mounts that Python has no functions for; all raise OSError."""

from __future__ import annotations

import os
import struct

from fpm.kernel.system_call import load_system_call

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PARENT = 0x00008000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19
MNT_DETACH = 2

CLONE_ARGS = struct.Struct("8Q")
"""struct clone_args of its first version, clone(2); all but the flags are 0 here."""
OPEN_HOW = struct.Struct("3Q")
"""openat2(2): flags, mode, resolve."""
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_IN_ROOT = 0x10
MOUNT_ATTR = struct.Struct("4Q")
"""mount_setattr(2): set, clear, propagation, user namespace."""
AT_FDCWD = -100
OPEN_TREE_CLONE = 1
MOVE_MOUNT_BETWEEN_DESCRIPTORS = 0x04 | 0x40
"""move_mount(2): both paths are empty."""
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000


class Calls:
    """The C library, loaded while its file can still be seen.

    Raises:
        ImportError: this Python has no ctypes.
    """

    def __init__(self) -> None:
        import ctypes

        self._libc = ctypes.CDLL(None, use_errno=True)
        self._errno = ctypes.get_errno
        self._long = ctypes.c_long
        self._call = load_system_call()

    def mount(self, source: str, target: str, kind: str, flags: int, data: str = "") -> None:
        """mount(2)."""
        long = self._long
        self._check(self._libc.mount(_text(source), _text(target), _text(kind), long(flags), _text(data)))

    def detach(self, target: str) -> None:
        """umount2(2): take a tree out of this namespace."""
        self._check(self._libc.umount2(_text(target), MNT_DETACH))

    def pivot_root(self, new: str, old: str) -> None:
        """pivot_root(2)."""
        self._check(self._libc.pivot_root(_text(new), _text(old)))

    def unshare(self, flags: int) -> None:
        """unshare(2)."""
        self._check(self._libc.unshare(flags))

    def setns(self, fd: int, kind: int) -> None:
        """setns(2)."""
        self._check(self._libc.setns(fd, kind))

    def clone(self, flags: int) -> int:
        """clone3(2) without a new stack: like fork(2), but none of Python's handlers run. Returns the pid, or 0."""
        return self._call("clone3", CLONE_ARGS.pack(flags, 0, 0, 0, 0, 0, 0, 0), CLONE_ARGS.size)

    def open_in(self, root: int, path: str, flags: int = os.O_PATH) -> int:
        """openat2(2): open a path as a process would whose root is the directory `root`."""
        how = OPEN_HOW.pack(flags | os.O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        return self._call("openat2", root, _text(path), how, OPEN_HOW.size)

    def open_tree(self, path: str) -> int:
        """open_tree(2): make a mount like the one at a path, attached nowhere."""
        return self._call("open_tree", AT_FDCWD, _text(path), OPEN_TREE_CLONE | os.O_CLOEXEC)

    def copy_tree(self, fd: int) -> int:
        """open_tree(2): copy the mount of an open file or directory, and all below it, attached nowhere."""
        return self._call("open_tree", fd, b"", OPEN_TREE_CLONE | os.O_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE)

    def attach(self, tree: int, place: int) -> None:
        """move_mount(2): attach what open_tree() has made at an open directory."""
        self._call("move_mount", tree, b"", place, b"", MOVE_MOUNT_BETWEEN_DESCRIPTORS)

    def set_attributes(self, fd: int, attributes: int) -> None:
        """mount_setattr(2): set MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC on a mount and all below it."""
        packed = MOUNT_ATTR.pack(attributes, 0, 0, 0)  # MOUNT_ATTR_* of these four are the numbers of MS_*
        self._call("mount_setattr", fd, b"", AT_EMPTY_PATH | AT_RECURSIVE, packed, MOUNT_ATTR.size)

    def _check(self, result: int) -> None:
        if result < 0:
            number = self._errno()
            raise OSError(number, os.strerror(number))


def _text(text: str) -> bytes:
    return os.fsencode(text)
