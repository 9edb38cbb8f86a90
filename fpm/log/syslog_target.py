"""Sends log lines to syslog(3)'s socket without ever waiting."""

from __future__ import annotations

import errno
import socket
import syslog
import time

from fpm.log.target import Target
from fpm.log.times import MONTHS


class SyslogTarget(Target):
    """A connection to syslog's datagram socket; the C library's syslog(3) would wait for a slow daemon.

    A line starts with `<PRIORITY>`, which the caller writes; see `syslog_head`.
    """

    def __init__(self, path: str = "/dev/log") -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._connected = False
        super().__init__(self._socket.fileno(), False)

    def reach(self) -> None:
        """Connect, if it is not connected yet.

        Raises:
            OSError: nobody takes messages.
        """
        if not self._connected:
            self._socket.connect(self._path)
            self._connected = True

    def flush(self) -> None:
        """Send pending lines, one datagram each."""
        self._blocked = False
        while self._pending:
            end = self._pending.index(b"\n") + 1
            try:
                self.reach()
                self._socket.send(bytes(self._pending[: end - 1]))
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                    self._blocked = error.errno == errno.EAGAIN
                    return
                # The daemon is gone or has been restarted: connect again with the next line.
                self._connected = False
                self._dropped += 1
            del self._pending[:end]
            if not self._pending and self._dropped and self._connected:
                self._pending += self.say_dropped(self._dropped)
                self._dropped = 0

    def close(self) -> None:
        """Send as many pending lines as possible, and close the socket."""
        self.flush()
        self._socket.close()


def syslog_head(priority: int, facility: str, ident: str, pid: int) -> bytes:
    """Format `<PRI>Sep 21 14:03:11 ident[pid]: ` (RFC 3164); an unknown facility becomes daemon."""
    code = getattr(syslog, f"LOG_{facility.upper().removeprefix('LOG_')}", syslog.LOG_DAEMON)
    now = time.localtime()
    clock = f"{now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02}"
    return f"<{code | priority}>{MONTHS[now.tm_mon - 1]} {now.tm_mday:2} {clock} {ident}[{pid}]: ".encode()
