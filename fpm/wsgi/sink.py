"""Where a response goes, and what of it goes nowhere. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


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


@dataclass(slots=True)
class Unsent:
    """What an application has made of a response and is not sent."""

    headers: tuple[str, ...] = ()
    """Names of fields that are the web server's; each is told once."""
    surplus: int = 0
    """Bytes beyond its own Content-Length."""
    after_end: int = 0
    """Bytes after finish_early()."""
