"""What the master tells the status process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SiteSpec:
    """Describes what is answered at one address.

    Attributes:
        pool: "" for the daemon's own address.
        peers: networks of TCP clients that may connect; empty: all.
        allow: networks that may ask: the client's own (HTTP), or REMOTE_ADDR where a web server passes it on.
    """

    pool: str
    status_path: str
    ping_path: str
    ping_response: str
    peers: Sequence[str]
    allow: Sequence[str]

    def as_message(self) -> dict[str, Any]:
        """Return the message for the channel."""
        return asdict(self)
