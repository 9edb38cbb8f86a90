"""What the master and the status process say to each other. The master believes nothing of it unchecked."""

from __future__ import annotations

from typing import Annotated, Any, cast, get_args

from fpm.frozen import dataclass
from fpm.protocol.wire import Range, as_object, read_object

VERSION = 1


@dataclass(frozen=True, slots=True)
class SiteSpec:
    """Describes what is answered at one address.

    Attributes:
        pool: "" for the daemon's own address.
        peers: networks of TCP clients that may connect; empty: all.
        allow: networks that may ask: the client's own (HTTP), or REMOTE_ADDR where a web server passes it on.
        details: whether query strings, errors and tracebacks are shown.
        exemplars: whether metrics name slow requests.
        hosts: names in the Host header of HTTP requests, beside addresses and localhost; None: any.
    """

    pool: str
    status_path: str
    ping_path: str
    ping_response: str
    peers: tuple[str, ...]
    allow: tuple[str, ...]
    details: bool = True
    exemplars: bool = False
    hosts: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class AnswerAt:
    """To the status process, with a listening socket: answer there."""

    address: str
    site: SiteSpec


@dataclass(frozen=True, slots=True)
class LeaveAddress:
    """To the status process: close this address's socket."""

    address: str


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """To the status process, with a memfd that holds the snapshot: the answer to a SnapshotWanted."""

    number: int
    cost: float = 0.0
    """CPU seconds of the master."""
    error: str = ""
    """Why there is no snapshot."""


@dataclass(frozen=True, slots=True)
class KeepHistory:
    """To the status process: sample all pools from now on. With it comes the file for the past, if it can be had."""

    path: str = ""
    """Of the file, for messages."""


@dataclass(frozen=True, slots=True)
class HistoryWanted:
    """To the status process, with an empty memfd: its past, or all, is to be there (fpm.status.past.exchange)."""

    number: int
    pool: str | None
    points: bool
    """The points of the history, too."""


@dataclass(frozen=True, slots=True)
class SaveHistory:
    """To the status process: take a sample and save the past, as the master is stopping."""


@dataclass(frozen=True, slots=True)
class Ping:
    """To the status process: say that you are there."""


@dataclass(frozen=True, slots=True)
class Pong:
    """To the master: the answer to a Ping."""


@dataclass(frozen=True, slots=True)
class AddressTaken:
    """To the master: the answer to an AnswerAt."""

    address: str


@dataclass(frozen=True, slots=True)
class SnapshotWanted:
    """To the master: show a pool, or all."""

    number: Annotated[int, Range(0, 2**63)]
    pool: str | None
    workers: bool
    memory: bool = True
    """Have some workers looked at for it; not for what is asked regularly."""


@dataclass(frozen=True, slots=True)
class HistoryTaken:
    """To the master: the answer to a HistoryWanted."""

    number: Annotated[int, Range(0, 2**63)]
    is_known: bool
    """Something has been written."""


@dataclass(frozen=True, slots=True)
class HistorySaved:
    """To the master: the answer to a SaveHistory."""


Command = AnswerAt | LeaveAddress | SnapshotTaken | KeepHistory | HistoryWanted | SaveHistory | Ping
Report = AddressTaken | SnapshotWanted | HistoryTaken | HistorySaved | Pong
_COMMANDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Command)}
_REPORTS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Report)}


def as_message(message: Command | Report) -> dict[str, Any]:
    """Make the JSON object of a message."""
    return as_object(message, VERSION)


def read_command(values: dict[str, Any]) -> Command:
    """Read what the master says.

    Raises:
        MessageError: it is of another version or kind, or of wrong fields.
    """
    return cast(Command, read_object(values, _COMMANDS, VERSION))


def read_report(values: dict[str, Any]) -> Report:
    """Read what the status process says.

    Raises:
        MessageError: it is of another version or kind, or of wrong fields.
    """
    return cast(Report, read_object(values, _REPORTS, VERSION))
