"""A command on a pseudo-terminal, and what is on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
from collections.abc import Mapping, Sequence

from tests.support.processes import Child
from tests.support.waiting import wait_until

HOME = b"\x1b[H"
END = b"\x1b[K"
"""Of the last line, too."""
ESCAPES = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")
ALTERNATE_ON, ALTERNATE_OFF = b"\x1b[?1049h", b"\x1b[?1049l"


class Terminal:
    """Runs a command with a terminal of this size for its input and output."""

    def __init__(
        self, command: Sequence[str], *, columns: int = 80, lines: int = 24, environ: Mapping[str, str] | None = None
    ) -> None:
        self.master, slave = pty.openpty()
        self._lines = lines
        self.resize(columns, lines)
        self.received = b""
        variables = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(environ or {})}
        path = os.ttyname(slave)
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, path, os.O_RDWR, 0),  # the session's first terminal controls it
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, 0, 2),
        ]
        self.process = Child(os.posix_spawn(command[0], command, variables, file_actions=actions, setsid=True))

    def resize(self, columns: int, lines: int) -> None:
        """Another size; whoever is in the foreground gets SIGWINCH."""
        self._lines = lines
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.master, keys.encode())

    def read(self) -> bytes:
        """All that has come, without waiting."""
        while select.select([self.master], [], [], 0)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                break
            if not data:
                break
            self.received += data
        return self.received

    def screen(self) -> list[str]:
        """The lines of the last whole picture, without colours; of one that has come in part there are too few."""
        pictures = [picture.split(ALTERNATE_OFF)[0] for picture in self.read().split(HOME)]
        whole = [
            picture for picture in pictures[-2:] if picture.count(b"\r\n") == self._lines - 1 and END in picture[-3:]
        ]
        last = (whole or pictures)[-1].decode(errors="replace")
        return [ESCAPES.sub("", line).rstrip("\r") for line in last.split("\r\n")]

    def wait_screen(self, words: str, *, timeout: float = 60.0) -> list[str]:
        """Wait until `words` are on the screen; that picture."""
        return wait_until(
            lambda: words in "\n".join(screen := self.screen()) and screen,
            timeout=timeout,
            message=lambda: f"no {words!r} on the screen; the last that came: {self.received[-3000:]!r}",
        )

    def wait(self, timeout: float = 60.0) -> int | None:
        """The exit code."""
        wait_until(lambda: self.read() is None or not self.process.alive(), timeout=timeout, message="it does not end")
        self.read()
        return self.process.status

    def is_restored(self) -> bool:
        """Is the terminal as it was before the command?"""
        return termios.tcgetattr(self._slave) == self.before

    def close(self) -> None:
        """End the command, if it has not."""
        self.process.signal(signal.SIGKILL)
        self.process.wait(10.0)
        os.close(self._slave)
        os.close(self.master)
