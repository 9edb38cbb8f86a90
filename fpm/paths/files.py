"""Opens, makes, replaces and removes files by their paths: what fpm.paths.place allows, and nothing waits.

No other module that may run as root does any of that (tests/unit/test_safe_paths.py).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fpm.paths.place import PINNED, Place, Trust, UnsafePath, find, trusted_users

ATTEMPTS = 5
"""A file may come and go while it is opened: logrotate does that."""
_SAFELY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK
"""No open waits: a FIFO without a reader and a file with a lease would make it (fifo(7), fcntl(2))."""


def open_to_append(path: str) -> int:
    """Open a log, or make it with mode 0600.

    Raises:
        ForeignDirectory: a process of the directory's user has to do it.
        UnsafePath: what is there may have been put there by another user.
        OSError: open(2) failed.
    """
    with find(path, follow=True) as place:
        return append_at(place)


def append_at(place: Place) -> int:
    """Do the same at a place that has been found; see `open_to_append`."""
    place.refuse_foreign()
    flags = os.O_WRONLY | os.O_APPEND | _SAFELY
    for _ in range(ATTEMPTS):
        try:
            _check(place, place.entry())
        except FileNotFoundError:
            with suppress(FileExistsError):
                return os.open(place.name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=place.fd)
            continue
        with suppress(FileNotFoundError):
            return _open_entry(place, flags)
    raise UnsafePath(f"{place.path} does not stay the same file")


def open_to_keep(path: str) -> int:
    """Open a regular file to read and to write, or make it; it has mode 0600 then, whatever mode it had.

    Raises:
        OSError: it cannot be opened, or what is there may have been put there by another user.
    """
    flags = os.O_RDWR | _SAFELY
    with find(path, follow=False) as place:
        place.refuse_foreign()
        with suppress(FileExistsError):
            return os.open(place.name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=place.fd)
        fd = _open_entry(place, flags)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        os.fchmod(fd, 0o600)  # a copy that was put back may be for all to read
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, "it is not a regular file")


def read_small(path: str, most: int) -> bytes:
    """Read the first bytes of a regular file.

    Raises:
        OSError: there is none that may be read.
    """
    with find(path, follow=True) as place:
        place.refuse_foreign()
        fd = _open_entry(place, os.O_RDONLY | _SAFELY)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            return os.read(fd, most)
        finally:
            os.close(fd)


def write_kernel_file(path: str, text: str) -> None:
    """Write a file that is there and is the kernel's, in one piece.

    Raises:
        OSError: it is not there, or the kernel refuses the text.
    """
    with find(path, follow=False) as place:
        place.refuse_foreign()
        fd = os.open(place.name, os.O_WRONLY | _SAFELY, dir_fd=place.fd)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def replace_file(path: str, content: bytes, mode: int) -> None:
    """Write a file in such a way that a reader sees the old one or the new one, never a part.

    Raises:
        OSError: it cannot be written.
    """
    with find(path, follow=False) as place:
        place.refuse_foreign()
        draft = f"{place.name}.{os.getpid()}.new"
        try:
            # A file that another process has put there is removed, not followed.
            with suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=place.fd)
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, mode, dir_fd=place.fd)
            try:
                os.write(fd, content)
                os.fchmod(fd, mode)  # whatever the umask is
            finally:
                os.close(fd)
            os.rename(draft, place.name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
        except OSError:
            with suppress(OSError):
                os.unlink(draft, dir_fd=place.fd)
            raise


def remove_file(path: str) -> None:
    """Remove a file.

    Raises:
        OSError: it cannot be removed.
    """
    with find(path, follow=False) as place:
        place.refuse_foreign()
        os.unlink(place.name, dir_fd=place.fd)


def make_directory(path: str, mode: int) -> os.stat_result:
    """Make a directory, and those above it, where they are missing; a new one has this mode, whatever the umask is.

    Returns:
        What is there now: who may own it is for the caller to say.

    Raises:
        OSError: it cannot be made, or something else is there.
    """
    parent = os.path.dirname(path)
    if parent != path and not os.path.lexists(parent):
        make_directory(parent, mode)
    with find(path, follow=True) as place:
        try:
            place.entry()
            is_new = False
        except FileNotFoundError:
            place.refuse_foreign()
            os.mkdir(place.name, mode, dir_fd=place.fd)
            is_new = True
        fd = os.open(place.name, os.O_RDONLY | os.O_DIRECTORY | _SAFELY, dir_fd=place.fd)
        try:
            if is_new:
                os.fchmod(fd, mode)
            return os.fstat(fd)
        finally:
            os.close(fd)


def replace_link(path: str, target: str) -> None:
    """Make a symbolic link, or let the one that is there lead to another target, without a moment between them.

    Raises:
        OSError: it cannot be made.
    """
    with find(path, follow=False) as place:
        place.refuse_foreign()
        draft = f"{place.name}.{os.getpid()}.new"
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=place.fd)
        os.symlink(target, draft, dir_fd=place.fd)
        os.rename(draft, place.name, src_dir_fd=place.fd, dst_dir_fd=place.fd)


def remove_directory(path: str) -> None:
    """Remove a directory that is empty.

    Raises:
        OSError: it is not empty, or it cannot be removed.
    """
    with find(path, follow=False) as place:
        place.refuse_foreign()
        os.rmdir(place.name, dir_fd=place.fd)


@contextmanager
def pinned_socket(place: Place, inode: tuple[int, int] | None) -> Iterator[str]:
    """Give a path for chown(2) and chmod(2) that means this socket file and no other, whatever its name means then.

    Args:
        inode: device and number that it must have; None: this process has just made it.

    Raises:
        UnsafePath: another file is there.
    """
    fd = os.open(place.name, PINNED, dir_fd=place.fd)
    try:
        found = os.fstat(fd)
        is_ours = (found.st_dev, found.st_ino) == inode if inode else found.st_uid == os.geteuid()
        if not stat.S_ISSOCK(found.st_mode) or found.st_nlink > 1 or not is_ours:
            raise UnsafePath(f"{place.path} is not the socket that this daemon has made")
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _open_entry(place: Place, flags: int) -> int:
    """Open what is there, if it may be used; it is looked at again once it is open.

    Raises:
        OSError: it may not be used, or open(2) failed.
    """
    if place.kernel_link:
        flags &= ~os.O_NOFOLLOW
    found = place.entry()
    _check(place, found)
    try:
        fd = os.open(place.name, flags, dir_fd=place.fd)
    except OSError as error:
        # A FIFO without a reader (fifo(7)): opened read-write, it keeps the lines until a reader comes.
        if error.errno != errno.ENXIO or not stat.S_ISFIFO(found.st_mode):
            raise
        fd = os.open(place.name, flags & ~os.O_ACCMODE | os.O_RDWR, dir_fd=place.fd)
    try:
        _check(place, os.fstat(fd))
    except OSError:
        os.close(fd)
        raise
    return fd


def _check(place: Place, found: os.stat_result) -> None:
    """Refuse an entry that another user may have put there, or that is also somewhere else.

    Raises:
        OSError: it must not be opened.
    """
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if place.kernel_link:
        return
    if stat.S_ISLNK(found.st_mode):
        raise UnsafePath(f"{place.path} has become a symbolic link")
    if place.trust is not Trust.PRIVATE and found.st_uid not in trusted_users():
        raise UnsafePath(f"{place.path} belongs to another user (uid {found.st_uid}), who may have put it there")
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        raise UnsafePath(f"{place.path} has {found.st_nlink} names (hard links), so it may be another file; remove it")
