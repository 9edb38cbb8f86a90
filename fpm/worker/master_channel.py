"""The worker's end of its channel to the master."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable

from fpm.protocol.messages import Command, Event, Level, LogText, Named, pack, unpack_command
from fpm.protocol.wire import MESSAGE_MAX, MessageError
from fpm.system.descriptors import take_descriptor
from fpm.worker.stdio import write_error

PATIENCE = 5.0
"""Seconds for a message without which the master takes the worker for one that does not start."""


class MasterChannel:
    """Messages to and from the master; sending does not block, unless the message must arrive."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self.fd = channel.fileno()
        self.on_named: Callable[[int, int], None] = lambda pid, parent: None
        """Takes the pids that the master has for this worker and its template, see fpm.protocol.messages.Named."""

    def send(self, message: Event) -> bool:
        """Sends a message; False if the master is gone or does not read."""
        try:
            self._channel.send(pack(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def send_surely(self, message: Event) -> bool:
        """Send a message, waiting for room if the channel is full of others; False if it could not be sent in time."""
        end, room = time.monotonic() + PATIENCE, select.poll()
        room.register(self._channel, select.POLLOUT)
        while not self.send(message):
            left = end - time.monotonic()
            if left <= 0 or any(events & ~select.POLLOUT for _, events in room.poll(left * 1000)):
                return False
        return True

    def log(self, level: Level, text: str, request: str = "") -> None:
        """A line (or a traceback) for the error log; to standard error if the master does not take it.

        Args:
            request: method and URI, if it is about one.
        """
        if not self.send(LogText(level, text, request)):
            write_error(f"{level.upper()}: {request}{': ' if request else ''}{text}\n")

    def receive(self) -> tuple[Command | None, int | None] | None:
        """A message, if there is one, and the descriptor that came with it; None when the master is gone."""
        try:
            data, ancillary, _, _ = self._channel.recvmsg(
                MESSAGE_MAX, socket.CMSG_SPACE(4), socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None, None
        except OSError:
            return None
        if not data:
            return None
        fd = take_descriptor(ancillary)
        try:
            command = unpack_command(data)
        except MessageError as error:
            self.log("warning", f"a message of the master was refused: {error}")
            return None, fd
        if isinstance(command, Named):
            self.on_named(command.pid, command.parent)
            return None, fd
        return command, fd
