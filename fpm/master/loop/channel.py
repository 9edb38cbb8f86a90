"""The master's end of a channel to a pool process: SOCK_SEQPACKET, never blocking, nothing on it believed.

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
from typing import Any

from fpm.master.loop.read_budget import Share, message_cost
from fpm.protocol.spec import MESSAGE_MAX, pack_message, unpack_message

CREDENTIALS = struct.Struct("iII")
LINES_MAX = 1000
"""Lines of one text that are logged; a traceback has fewer, and logging more would hold up other pools."""
MESSAGES_PER_TURN = 16
"""A pool that floods its channel gets its turn again after the others."""


@dataclass(frozen=True, slots=True)
class Received:
    """One message, and the pid of its sender as the kernel says."""

    message: dict[str, Any]
    pid: int


class Channel:
    """One end of a socket pair; the other end goes to the pool process."""

    def __init__(self, fd: int | None = None) -> None:
        """`fd` is the master's end of a pair that exists already (handed over by an upgrade)."""
        if fd is None:
            self.socket, self.peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        else:
            self.socket = self.peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=fd)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    @property
    def fd(self) -> int:
        """The master's descriptor."""
        return self.socket.fileno()

    def close_peer(self) -> None:
        """After the other end has been given away."""
        self.peer.close()

    def close(self) -> None:
        """Close what is still open; the other side reads end of file."""
        self.socket.close()
        self.peer.close()

    def send(self, message: dict[str, Any], fds: list[int] | None = None) -> bool:
        """Send without waiting.

        Returns:
            False if the other side is gone or does not read: it is not worth waiting for.
        """
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.socket.sendmsg([pack_message(message)], rights, socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def receive(self, share: Share) -> tuple[list[Received], bool]:
        """What has come, at most MESSAGES_PER_TURN, at the cost of the pool's share.

        Returns:
            The messages, and whether the other side is still there.
        """
        messages: list[Received] = []
        for _ in range(MESSAGES_PER_TURN):
            begin = time.monotonic()
            received, alive = self._receive()
            if received is None:
                return messages, alive
            messages.append(received)
            costs = message_cost(text_of(received.message, "text") + text_of(received.message, "traceback"))
            now = time.monotonic()
            share.spend(now - begin + costs, now)
            if share.pause(now) > 0:
                break
        return messages, True

    def _receive(self) -> tuple[Received | None, bool]:
        space = socket.CMSG_SPACE(CREDENTIALS.size)
        try:
            data, ancillary, _, _ = self.socket.recvmsg(MESSAGE_MAX, space, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None, True
        except OSError:
            return None, False
        return (Received(unpack_message(data), _sender(ancillary)), True) if data else (None, False)


def text_of(message: dict[str, Any], name: str) -> str:
    """A text out of a message that nobody vouches for; of too many lines the middle is left out."""
    text = str(message.get(name, ""))[:MESSAGE_MAX]
    lines = text.split("\n")
    if len(lines) <= LINES_MAX:
        return text
    half = LINES_MAX // 2
    return "\n".join([*lines[:half], f"... {len(lines) - 2 * half} lines left out ...", *lines[-half:]])


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
    """A pool process has no descriptors to give; what it sends must not pile up here."""
    fds = array.array("i")
    fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
