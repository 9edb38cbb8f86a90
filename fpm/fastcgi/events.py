"""What the state machine tells its driver."""

from __future__ import annotations

from enum import Enum

from fpm.frozen import dataclass


class NeedData(Enum):
    """A value, not an exception: there is no event until more bytes have come."""

    NEED_DATA = "need data"


NEED_DATA = NeedData.NEED_DATA


@dataclass(frozen=True, slots=True)
class RequestBegun:
    """All variables of a request have come."""

    request_id: int
    keep: bool
    """The web server keeps the connection (KEEP_CONN)."""
    params: dict[str, str]


@dataclass(frozen=True, slots=True)
class BodyData:
    """Some bytes of the request's body, never none."""

    data: bytes


@dataclass(frozen=True, slots=True)
class BodyEnd:
    """The empty STDIN record: there is no more body."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """ABORT_REQUEST for the active request (5.4): the web server no longer wants the answer, only END_REQUEST."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes that the protocol wants sent back now."""

    data: bytes
    close: bool = False
    """The refused request did not ask to keep the connection: close it after sending."""


Event = NeedData | RequestBegun | BodyData | BodyEnd | Aborted | Reply
