"""Destinations of log lines. They never wait for a reader, and never raise once they are open.

A regular file takes every write. A pipe, terminal, FIFO or socket may have a reader that is slow, stopped or gone: what
it does not take at once waits in a bounded buffer, and lines that do not fit there are dropped and counted. A full disk
is treated in the same way.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import stat
from collections.abc import Callable

from fpm.errors import StartError, advise
from fpm.paths.files import append_at, open_to_append
from fpm.paths.place import find

BUFFER_MAX = 256 * 1024
"""Bytes that wait for a reader or for disk space; exceeded only by a single larger write."""
CHUNK = 4096
"""PIPE_BUF: a pipe that polls writable takes this much without blocking, and in one piece (pipe(7))."""
_STANDARD = {"/dev/stdout": 1, "/proc/self/fd/1": 1, "/dev/stderr": 2, "/proc/self/fd/2": 2}


class Target:
    """A descriptor and the bytes pending for it."""

    def __init__(self, fd: int, owns_fd: bool) -> None:
        self.say_dropped: Callable[[int], bytes] = _dropped_line
        """Formats the line that is written once the target takes lines again."""
        self.trouble: OSError | None = None
        """Why the last write failed, or why a line was dropped; None if everything is written."""
        self._fd = fd
        self._owns_fd = owns_fd
        self._pending = bytearray()
        self._blocked = False
        self._dropped = 0
        self._use(fd)

    def write(self, line: bytes) -> None:
        """Write one line, or lines that belong together, with the newline; any length if nothing is pending."""
        if len(self._pending) + len(line) > BUFFER_MAX:
            self.flush()
        if self._pending and len(self._pending) + len(line) > BUFFER_MAX:
            self._dropped += line.count(b"\n")
            if self.trouble is None:
                self.trouble = OSError(errno.EAGAIN, "its reader does not read")
            return
        self._pending += line
        self.flush()

    def flush(self) -> None:
        """Write pending bytes, as far as possible without waiting."""
        self._blocked = False
        while self._pending:
            try:
                written = self._write_some(self._next_chunk())
            except OSError as error:
                self._refused(error)
                return
            del self._pending[:written]
            if not self._pending and self._dropped:
                self._pending += self.say_dropped(self._dropped)
                self._dropped = 0
        self.trouble = None

    def pending_fd(self) -> int | None:
        """Return the descriptor to wait for with POLLOUT before `flush`; None when nothing is pending."""
        return self._fd if self._blocked else None

    def reopen(self) -> str | None:
        """Open the path again after the file was renamed; return the reason if that fails. Descriptors stay open."""
        return None

    def close(self) -> None:
        """Write as much as possible and close the descriptor."""
        self.flush()
        if self._owns_fd:
            os.close(self._fd)

    def fileno(self) -> int:
        """Return the descriptor, for dup2(2)."""
        return self._fd

    def take_over(self, other: Target) -> None:
        """Write on where another target would, which is not used any more; lines that wait go there, too."""
        self.flush()
        if self._owns_fd:
            os.close(self._fd)
        self._owns_fd = other._owns_fd
        self._use(other._fd)

    def own(self) -> None:
        """Use a number of its own for a descriptor that belongs to somebody else, such as standard error."""
        if not self._owns_fd:
            self._fd = fcntl.fcntl(self._fd, fcntl.F_DUPFD_CLOEXEC, 3)
            self._owns_fd = True

    def _use(self, fd: int) -> None:
        self._fd = fd
        mode = os.fstat(fd).st_mode
        self._is_socket = stat.S_ISSOCK(mode)
        self._is_file = stat.S_ISREG(mode)
        self._must_poll = not (self._is_file or self._is_socket or not os.get_blocking(fd))

    def _next_chunk(self) -> bytes:
        """Return whole lines where possible, since another process may append to the same file or pipe."""
        if self._is_file:
            return bytes(self._pending)
        end = self._pending.rfind(b"\n", 0, CHUNK) + 1
        return bytes(self._pending[: end or CHUNK])

    def _write_some(self, data: bytes) -> int:
        if self._is_socket:
            with socket.socket(fileno=os.dup(self._fd)) as peer:
                return peer.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if self._must_poll and not _is_writable(self._fd):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return os.write(self._fd, data)

    def _refused(self, error: OSError) -> None:
        if error.errno in (errno.EAGAIN, errno.EINTR):
            self._blocked = True
            return
        self.trouble = error
        if error.errno in (errno.EPIPE, errno.EBADF, errno.ECONNRESET, errno.ENOTCONN):
            # The reader is gone for good: pending bytes will never be read.
            self._dropped += self._pending.count(b"\n")
            self._pending.clear()
        # Anything else (ENOSPC, EDQUOT, EIO): the bytes stay pending until the next line.


class FileTarget(Target):
    """A file that is opened by its path, and reopened on request.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str, fd: int | None = None) -> None:
        """Use the descriptor that is given, or open the path."""
        self._path = path
        super().__init__(open_to_append(path) if fd is None else fd, True)

    def is_removed(self) -> bool:
        """Tell whether the file has no name any more, so that nobody will read what is written to it."""
        return os.fstat(self._fd).st_nlink == 0

    def reopen(self) -> str | None:
        """Open the path again; keep the old file if that fails."""
        self.flush()
        try:
            self.take_over(FileTarget(self._path))
        except OSError as error:
            return f"{self._path}: {error.strerror} ({error.errno})"
        return None


def open_target(path: str | None, directive: str) -> Target:
    """Open the target for a log's path; None, /dev/stderr and /dev/stdout mean this process's own descriptor.

    Raises:
        StartError: it cannot be opened, or the descriptor is closed.
    """
    try:
        return find_target(path)
    except OSError as error:
        raise StartError(explain(path or "stderr", directive, error)) from error


def find_target(path: str | None) -> Target:
    """Open a target like `open_target`, for callers that word their own error.

    Raises:
        ForeignDirectory: it lies in a directory of another user.
        OSError: it cannot be opened, or the descriptor is closed.
    """
    if path is None or path in _STANDARD:
        return Target(*_own_descriptor(_STANDARD[path or "/dev/stderr"]))
    with find(path, follow=True) as place:
        if place.own_fd in (1, 2):  # a link to /dev/stderr, as container images have it
            return Target(*_own_descriptor(place.own_fd))
        return FileTarget(path, append_at(place))


def discard() -> Target:
    """Open a target that keeps nothing."""
    return Target(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), True)


def explain(path: str, directive: str, error: OSError) -> str:
    """Compose PHP-FPM's sentence about a log that cannot be opened, and what to do."""
    return f"failed to open {directive} ({path}): {describe_refusal(directive, error)}"


def explain_for_pool(path: str, directive: str, user: str, error: OSError) -> str:
    """Compose the same for a log that the pool's user had to open."""
    return (
        f"failed to open {directive} ({path}) as user {user}: {error.strerror}; others than root can write to its "
        f"directory, so root opens nothing there: let that user write to the file, or set {directive} to another path"
    )


def describe_refusal(directive: str, error: OSError) -> str:
    """Say why a log cannot be opened or written, and what to do."""
    return advise(error, f"set {directive} to another path")


def is_journal(fd: int, journal_stream: str) -> bool:
    """Tell whether a descriptor leads to systemd's journal, by the value of JOURNAL_STREAM (systemd.exec(5)).

    The variable alone does not say it: it is inherited by what has its output elsewhere.
    """
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return journal_stream == f"{found.st_dev}:{found.st_ino}"


def _own_descriptor(fd: int) -> tuple[int, bool]:
    """Open a non-blocking description of the same pipe or terminal; return it and whether it is ours to close.

    O_NONBLOCK on the given descriptor would affect every process that shares it, including the shell.
    """
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode) or stat.S_ISSOCK(mode):
        return fd, False
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        return os.open(f"/proc/self/fd/{fd}", flags), True
    except OSError:
        # Another user's terminal or pipe, or no /proc: poll before each write instead.
        return fd, False


def is_open(fd: int) -> bool:
    """Tell whether there is such a descriptor: standard error may be closed."""
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def _is_writable(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    return bool(poller.poll(0))


def _dropped_line(count: int) -> bytes:
    return b"%d lines were dropped: the log could not take them in time\n" % count
