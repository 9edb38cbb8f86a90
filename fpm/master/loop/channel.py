"""The master's end of a channel to another process: SOCK_SEQPACKET, never blocking, no message trusted.

The kernel stamps each message with the sender's pid (SO_PASSCRED, unix(7)), so a process cannot speak for another.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from fpm.frozen import dataclass
from fpm.master.loop.fair_reader import Share
from fpm.master.loop.read_budget import message_cost
from fpm.protocol.messages import Command, Event, pack, unpack_event
from fpm.protocol.wire import MESSAGE_MAX, MessageError, pack_message, unpack_message

CREDENTIALS = struct.Struct("iII")
LINES_MAX = 400
"""Lines of one text that are logged; a traceback has fewer, and logging more would delay other pools."""
LINE_MAX = 4096
"""Characters of a text that has one line."""
MESSAGES_PER_TURN = 16
"""A pool that floods its channel is read again after the others."""
MESSAGE_ROOM = 256
"""Bytes of its sender's buffer that a message takes at least, besides its own; in Linux 6 it is some 500."""

Sent = TypeVar("Sent")
Heard = TypeVar("Heard")


@dataclass(frozen=True, slots=True)
class Received(Generic[Heard]):
    """One message, and its sender's pid from the kernel."""

    message: Heard
    pid: int


class Channel(ABC, Generic[Sent, Heard]):
    """One end of a socket pair whose other end goes to the other process. Subclasses define the messages."""

    def __init__(self, fd: int | None = None) -> None:
        """Create a pair, or use `fd`, the master's end of an existing pair (inherited in an upgrade)."""
        if fd is None:
            self.socket, self.peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        else:
            self.socket = self.peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=fd)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    @property
    def fd(self) -> int:
        """Return the master's descriptor."""
        return self.socket.fileno()

    def close_peer(self) -> None:
        """Close the other end, once the other process has it."""
        self.peer.close()

    def end(self) -> None:
        """Send nothing any more; the other side reads end of file, and may still say something."""
        with contextlib.suppress(OSError):  # it is gone
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close both ends; the other side reads end of file."""
        self.socket.close()
        self.peer.close()

    @abstractmethod
    def pack(self, message: Sent) -> bytes:
        """Pack a message into a datagram."""

    @abstractmethod
    def unpack(self, data: bytes) -> Heard:
        """Unpack a datagram, which may contain anything."""

    def send(self, message: Sent, fds: list[int] | None = None) -> bool:
        """Send without waiting.

        Returns:
            False if the other side is gone or does not read, so that waiting is useless.

        Raises:
            MessageError: the message is too long; the configuration is checked for it (fpm.config.check).
        """
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        data = self.pack(message)
        try:
            self.socket.sendmsg([data], rights, socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def receive(self, share: Share, take: Callable[[Received[Heard]], object]) -> tuple[int, bool]:
        """Receive a message, and as many more as the pool's share allows, up to MESSAGES_PER_TURN.

        Each is charged with the time of the processor that it and all that follows from it take.

        Args:
            take: called with each.

        Returns:
            How many there were, and whether the other side is still there.
        """
        for count in range(MESSAGES_PER_TURN):
            size, alive = self._receive_one(share, take)
            if size < 0:
                return count, alive
            if not share.may_read():
                return count + 1, True
        return MESSAGES_PER_TURN, True

    def receive_last(self, share: Share, take: Callable[[Received[Heard]], object]) -> bool:
        """Receive all that a process has left that has ended, whatever its pool's share allows, which is charged.

        As much as fits into the socket is read, however long that takes on a busy machine: nobody else knows what is in
        these messages. No more, for another process may hold the other end, and go on writing.

        Returns:
            Whether somebody is still there.
        """
        room = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)  # both ends have been made with the same
        while room > 0:
            size, alive = self._receive_one(share, take)
            if size < 0:
                return alive
            room -= MESSAGE_ROOM + size
        return True

    def _receive_one(self, share: Share, take: Callable[[Received[Heard]], object]) -> tuple[int, bool]:
        """Receive one message; returns its size in bytes (-1: there is none), and whether there may be more."""
        begin = time.thread_time()
        received, size, alive = self._receive()
        if received is None:
            return -1, alive
        take(received)
        share.spend(message_cost(size, time.thread_time() - begin))
        return size, True

    def _receive(self) -> tuple[Received[Heard] | None, int, bool]:
        """Receive one message; returns its size in bytes, too."""
        space = socket.CMSG_SPACE(CREDENTIALS.size)
        try:
            data, ancillary, _, _ = self.socket.recvmsg(MESSAGE_MAX, space, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None, 0, True
        except OSError:
            return None, 0, False
        # An empty datagram has its sender's credentials like any other; the end of file has nobody's.
        if not data and not ancillary:
            return None, 0, False
        return Received(self.unpack(data), _sender(ancillary)), len(data), True


def limit_lines(text: str) -> str:
    """Shorten untrusted text of too many lines in the middle."""
    lines = text.split("\n")
    if len(lines) <= LINES_MAX:
        return text
    half = LINES_MAX // 2
    return "\n".join([*lines[:half], f"... {len(lines) - 2 * half} lines left out ...", *lines[-half:]])


def one_line(text: str) -> str:
    """Make one line, not too long, of untrusted text."""
    return " ".join(text[:LINE_MAX].splitlines())


class PoolChannel(Channel[Command, Event | MessageError]):
    """A channel to a template or a worker.

    Attributes:
        has_refused: an invalid message has been logged.
    """

    has_refused = False

    def pack(self, message: Command) -> bytes:
        return pack(message)

    def unpack(self, data: bytes) -> Event | MessageError:
        """Unpack a message; return an error as a value, since a pool may send anything."""
        try:
            return unpack_event(data)
        except MessageError as error:
            return error


class HelperChannel(Channel[dict[str, Any], dict[str, Any]]):
    """A channel to one of pyfpm's helpers; messages are JSON objects."""

    def pack(self, message: dict[str, Any]) -> bytes:
        return pack_message(message)

    def unpack(self, data: bytes) -> dict[str, Any]:
        return unpack_message(data)


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int:
    pid = 0
    for level, kind, content in ancillary:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_CREDENTIALS and len(content) == CREDENTIALS.size:
            pid = CREDENTIALS.unpack(content)[0]
        elif kind == socket.SCM_RIGHTS:
            _close_unwanted(content)
    return pid


def _close_unwanted(content: bytes) -> None:
    """Close descriptors sent by a pool process, which has none to send; they must not pile up in the master."""
    fds = array.array("i")
    fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
