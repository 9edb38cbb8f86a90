"""Where a response goes, and what of it goes nowhere. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class PlainFile(Protocol):
    """A file whose bytes the kernel may send."""

    fd: int
    position: int
    """Where its object would be read on."""
    size: int
    """Bytes from there to its end."""

    def move(self, position: int) -> None:
        """Let its object be read from here on."""


class Sink(Protocol):
    """Where the bytes of a response go."""

    @property
    def finished(self) -> bool:
        """The answer is complete; nothing more may be sent."""

    def send(self, data: bytes, is_last: bool = False) -> None:
        """Sends some bytes now; returns when they are on their way. Without bytes: looks whether anybody wants more.

        Args:
            is_last: the body is complete with them; only the end of the request is still to come.
        """

    def finish(self, data: bytes) -> None:
        """Sends the last bytes (maybe none) and ends the request."""

    @property
    def can_finish(self) -> bool:
        """Ending the request now takes nothing from the application, which may go on: its body has come and is read."""

    def find_file(self, file: object) -> PlainFile | None:
        """Find the file of the file system behind a file-like object; None: it has to be read()."""

    def send_file(self, head: bytes, file: PlainFile, size: int) -> int:
        """Sends some bytes and then a part of a file, from its position on, which is moved.

        Returns:
            How many bytes of the file: fewer than `size` if it has become shorter.
        """


@dataclass(slots=True)
class Unsent:
    """What an application has made of a response and is not sent."""

    headers: tuple[str, ...] = ()
    """Names of fields that are the web server's; each is told once."""
    surplus: int = 0
    """Bytes beyond its own Content-Length."""
    after_end: int = 0
    """Bytes after finish_early()."""
