"""What the sender of answers sees of a request."""

from __future__ import annotations

from typing import Protocol

from fpm.worker.connection import WebConnection
from fpm.wsgi.environ import Environ


class Answer(Protocol):
    """What is to be known of a request to send what it is answered."""

    connection: WebConnection
    request_id: int
    environ: Environ
    started: float
    broken: bool
    """The peer is gone, or was given up: nothing can be sent any more."""
    aborted: bool
    """The web server has sent ABORT_REQUEST."""
    cut_off: bool
    """It was ended so that the web server sees that it is not complete."""
    first_byte: float
    """When its first byte was sent, monotonic seconds; 0.0: not yet, or only with its last one."""

    def mark_first_byte(self) -> None:
        """Its first byte is out, and its last one not yet."""
