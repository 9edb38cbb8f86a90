"""The worker's end of its channel to the master."""

from __future__ import annotations

import socket
import sys
from typing import Any

from fpm.protocol.spec import MESSAGE_MAX, pack_message, unpack_message
from fpm.system.descriptors import take_descriptor


class Reports:
    """Messages to and from the master; sending never blocks."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self.fd = channel.fileno()

    def send(self, message: dict[str, Any]) -> bool:
        """Sends a message; False if the master is gone or does not read."""
        try:
            self._channel.send(pack_message(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def log(self, level: str, text: str) -> None:
        """A line (or a traceback) for the error log; to standard error if the master does not take it."""
        if not self.send({"event": "log", "level": level, "text": text}):
            sys.stderr.write(f"{level.upper()}: {text}\n")

    def receive(self) -> tuple[dict[str, Any], int | None] | None:
        """A message and the descriptor that came with it; None when the master is gone."""
        try:
            data, ancillary, _, _ = self._channel.recvmsg(
                MESSAGE_MAX, socket.CMSG_SPACE(4), socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return {}, None
        except OSError:
            return None
        return (unpack_message(data), take_descriptor(ancillary)) if data else None
