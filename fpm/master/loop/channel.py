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
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fpm.master.loop.read_budget import ReadBudget, message_cost
from fpm.protocol.messages import Command, Event, Failed, LogText, Notice, pack, unpack_event
from fpm.protocol.wire import MESSAGE_MAX, MessageError, pack_message, unpack_message

CREDENTIALS = struct.Struct("iII")
LINES_MAX = 1000
"""Lines of one text that are logged; a traceback has fewer, and logging more would delay other pools."""
MESSAGES_PER_TURN = 16
"""A pool that floods its channel is read again after the others."""


Sent = TypeVar("Sent")
Heard = TypeVar("Heard")


@dataclass(frozen=True, slots=True)
class Received(Generic[Heard]):
    """One message, and its sender's pid from the kernel."""

    message: Heard
    pid: int


class Channel(Generic[Sent, Heard]):
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

    def close(self) -> None:
        """Close both ends; the other side reads end of file."""
        self.socket.close()
        self.peer.close()

    def pack(self, message: Sent) -> bytes:
        """Pack a message into a datagram."""
        raise NotImplementedError

    def unpack(self, data: bytes) -> Heard:
        """Unpack a datagram, which may contain anything."""
        raise NotImplementedError

    def text_of(self, message: Heard) -> str:
        """Return the text of a message that may be logged; the longer it is, the more logging costs."""
        return ""

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

    def receive(self, share: ReadBudget) -> tuple[list[Received[Heard]], bool]:
        """Receive at most MESSAGES_PER_TURN messages, charged to the pool's budget.

        Returns:
            The messages, and whether the other side is still there.
        """
        messages: list[Received[Heard]] = []
        for _ in range(MESSAGES_PER_TURN):
            begin = time.monotonic()
            received, alive = self._receive()
            if received is None:
                return messages, alive
            messages.append(received)
            costs = message_cost(self.text_of(received.message))
            now = time.monotonic()
            share.spend(now - begin + costs, now)
            if share.pause(now) > 0:
                break
        return messages, True

    def _receive(self) -> tuple[Received[Heard] | None, bool]:
        space = socket.CMSG_SPACE(CREDENTIALS.size)
        try:
            data, ancillary, _, _ = self.socket.recvmsg(MESSAGE_MAX, space, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None, True
        except OSError:
            return None, False
        # An empty datagram has its sender's credentials like any other; the end of file has nobody's.
        return (Received(self.unpack(data), _sender(ancillary)), True) if data or ancillary else (None, False)


def limit_lines(text: str) -> str:
    """Shorten untrusted text of too many lines in the middle."""
    lines = text.split("\n")
    if len(lines) <= LINES_MAX:
        return text
    half = LINES_MAX // 2
    return "\n".join([*lines[:half], f"... {len(lines) - 2 * half} lines left out ...", *lines[-half:]])


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

    def text_of(self, message: Event | MessageError) -> str:
        match message:
            case LogText() | Notice():
                return limit_lines(message.text)
            case Failed():
                return limit_lines(message.error) + limit_lines(message.traceback)
            case _:
                return ""


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
