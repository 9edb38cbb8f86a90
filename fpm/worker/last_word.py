"""What is sent to a web server if a worker ends, or gives up, in the middle of an answer.

nginx takes a plain close after the headers for a good end, so an answer that is cut off by the end of its worker would
look complete. A process that is killed can say nothing; its template can: a worker that has an answer under way leaves
its connection and the last bytes to be sent on it in a socket of which the template has the reading end as well, and
takes them back when the answer is complete. Nobody reads them unless the worker has ended. So whatever ended it (a time
limit, a stop, os._exit(), a crash, SIGKILL), the web server learns that the answer is not complete, as long as the
template lives.
"""

from __future__ import annotations

import _socket
import os
import socket
import struct
import sys
from contextlib import suppress

from fpm.system.descriptors import take_descriptor

Pair = tuple[socket.socket, socket.socket]
"""SOCK_SEQPACKET: the end at which it is left, and the end where it is read."""

_TIMES = struct.Struct("H")
"""How many times what follows it is to be said."""
_TIMES_MAX = 8192
_WORDS_MAX = 1 << 17
"""Bytes: more than the rest of a record and what breaks the answer off."""
_ROOM = 1 << 20
"""Bytes that the kernel is asked to queue for a peer that is slow; it allows what net.core.wmem_max says."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: do not linger."""


class LastWord:
    """The worker's side.

    Args:
        pair: None where nobody would read it.

    Attributes:
        is_left: an answer is under way.
        times: how often what is left is to be said.
    """

    def __init__(self, pair: Pair | None) -> None:
        self._pair = pair
        self._fd = -1
        self._words = b""
        self.times = 1
        self._is_readable = False
        """It is in the socket."""
        self.is_left = False

    def descriptors(self) -> list[int]:
        """List what is for this process and its template alone."""
        return [end.fileno() for end in self._pair or ()]

    def leave(self, fd: int, words: bytes, times: int = 1) -> None:
        """Have this sent on a connection, as many times, if this process ends now; it replaces what was left before."""
        former, self._is_readable = self._is_readable, False
        self._fd, self._words, self.times, self.is_left = fd, words, times, True
        if self._pair is not None:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))
            try:
                self._pair[0].sendmsg((_TIMES.pack(times), words), (rights,), socket.MSG_NOSIGNAL)
                self._is_readable = True
            except OSError:  # ETOOMANYREFS: too many descriptors of this user are on their way
                self._is_readable = False
        if former:
            self._take_back()

    def withdraw(self) -> None:
        """Take it back: the answer is complete, or its peer is gone."""
        self.is_left = False
        if self._is_readable:
            self._is_readable = False
            self._take_back()

    def say(self) -> None:
        """Send it now: this worker gives the answer up."""
        self.withdraw()
        with suppress(OSError):
            say(self._fd, self._words * self.times)

    def _take_back(self) -> None:
        if self._pair is not None:
            with suppress(OSError):  # the application has closed descriptors that are not its own
                # Without room for a descriptor the kernel closes the one that comes.
                self._pair[1].recv(1)


def say(fd: int, words: bytes) -> None:
    """Send bytes on a connection without waiting, also to a peer that has no time for what was sent before.

    Raises:
        OSError: the peer has gone before us, or it is no connection.
    """
    connection = socket.socket(fileno=fd)
    try:
        connection.setblocking(False)
        left = _send(connection, words)
        if left:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
            left = _send(connection, left)
        if left:
            # No room: the close resets the connection, where the protocol can do that (TCP).
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    finally:
        connection.detach()


def _send(connection: socket.socket, data: bytes) -> bytes:
    """Send what can be sent at once; return the rest."""
    try:
        return data[connection.send(data, socket.MSG_NOSIGNAL) :]
    except BlockingIOError:
        return data


class LastWords:
    """The template's side: what its workers have left is said when one has ended."""

    def __init__(self) -> None:
        self._pair: Pair | None = None
        """Of the worker that is being forked."""
        self._ends: dict[int, socket.socket] = {}
        """By the workers' pids."""

    def begin_fork(self) -> None:
        """Make a pair for the next worker; it does without if no descriptors are left."""
        try:
            # Not socket.socketpair(), which makes objects of whatever the application calls socket.socket.
            ends = [one.detach() for one in _socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)]
        except OSError:
            self._pair = None
            return
        first, second = (socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=fd) for fd in ends)
        self._pair = first, second
        for end in self._pair:
            end.setblocking(False)  # said here, as an application may have called socket.setdefaulttimeout()

    def take_pair(self) -> Pair | None:
        """Give the new worker its pair; in it, what belongs to the others is closed."""
        while self._ends:
            self._ends.popitem()[1].close()
        return self._pair

    def end_fork(self, pid: int) -> None:
        """Keep the template's end of the pair; `pid` is -1 if there is no new worker."""
        pair, self._pair = self._pair, None
        if pair is not None:
            pair[0].close()
            if pid > 0:
                self._ends[pid] = pair[1]
            else:
                pair[1].close()

    def say_for(self, pid: int) -> None:
        """A worker has ended: say what it has left, if it has left anything."""
        end = self._ends.pop(pid, None)
        if end is not None:
            with end:
                _say_left(end)


def _say_left(end: socket.socket) -> None:
    words, fd = b"", -1
    # BlockingIOError: nothing more; ConnectionResetError: the application has read or written there as well.
    with suppress(BlockingIOError, ConnectionResetError):
        while True:  # a second message is there if the worker was just replacing the first
            data, ancillary, _, _ = end.recvmsg(_WORDS_MAX, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
            if not data:
                break
            if fd >= 0:
                os.close(fd)
            taken = take_descriptor(ancillary)
            words, fd = data, -1 if taken is None else taken
    if fd >= 0:
        with suppress(OSError):
            say(fd, words[_TIMES.size :] * min(_TIMES.unpack_from(words.ljust(_TIMES.size))[0], _TIMES_MAX))
        os.close(fd)
