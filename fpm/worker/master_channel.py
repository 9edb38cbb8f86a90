"""The worker's end of its channel to the master."""

from __future__ import annotations

import socket

from fpm.protocol.messages import Command, Event, Level, LogText, pack, unpack_command
from fpm.protocol.wire import MESSAGE_MAX, MessageError
from fpm.system.descriptors import take_descriptor
from fpm.worker.stdio import write_error


class MasterChannel:
    """Messages to and from the master; sending never blocks."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self.fd = channel.fileno()

    def send(self, message: Event) -> bool:
        """Sends a message; False if the master is gone or does not read."""
        try:
            self._channel.send(pack(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
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
            return unpack_command(data), fd
        except MessageError as error:
            self.log("warning", f"a message of the master was refused: {error}")
            return None, fd
