"""A client of the daemon's own status address ([global] status_listen): what any user may ask whom it lets."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from fpm.client.request import connectable, parse_target
from fpm.config.model import AbstractAddress, TcpAddress, UnixAddress
from fpm.errors import FpmError
from fpm.frozen import dataclass
from fpm.system.unix_sockets import connect_unix

ANSWER_TIME = 10.0
"""Seconds; a monitor gives up soon after."""
BODY_MAX = 64 << 20
"""Bytes: a page of many thousand pools."""


class ListenerError(FpmError):
    """The status address gives no answer that could be used."""


@dataclass(frozen=True, slots=True)
class PoolPage:
    """What the address says of a pool."""

    name: str
    state: str
    """"" if it can serve, else its state: failed, stopping ..."""
    page: Mapping[str, Any]
    """The short status page."""


def fetch_pools(address: str) -> list[PoolPage]:
    """Ask for all pools, of `http://HOST:PORT`, `HOST:PORT`, `PORT`, or the path of a Unix socket.

    Raises:
        ListenerError: nobody answers there, or not this.
    """
    pages = _read(address, _fetch(address, "/status?json"))
    states = _read_states(_fetch(address, "/readyz", also=HTTPStatus.SERVICE_UNAVAILABLE))
    return [PoolPage(name, states.get(name, states.get(None, "")), page) for name, page in pages.items()]


def _read(address: str, body: bytes) -> dict[str, Mapping[str, Any]]:
    try:
        return {str(page["pool"]): page for page in json.loads(body)}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ListenerError(f"what answers at {address} is not [global] status_listen of pyfpm") from None


def _read_states(body: bytes) -> dict[str | None, str]:
    """The lines of /readyz: `pool NAME is STATE`, or that the daemon is stopping (None)."""
    found: dict[str | None, str] = {}
    for line in body.decode("utf-8", "replace").splitlines():
        name, is_, state = line.removeprefix("pool ").rpartition(" is ")
        if line.startswith("pool ") and is_:
            found[name] = state
        elif line == "the daemon is stopping":
            found[None] = "stopping"
    return found


def _fetch(address: str, path: str, *, also: HTTPStatus = HTTPStatus.OK) -> bytes:
    connection, prefix = _connection(address)
    try:
        connection.request("GET", prefix + path)
        answer = connection.getresponse()
        body = answer.read(BODY_MAX)
    except (OSError, http.client.HTTPException) as error:
        raise ListenerError(f"nothing answers at {address}: {_why(error)}") from error
    finally:
        connection.close()
    if answer.status in (HTTPStatus.OK, also):
        return body
    hint = _HINTS.get(answer.status, "is this the address of [global] status_listen?")
    raise ListenerError(f"{address} answers {answer.status} {answer.reason}: {hint}")


_HINTS: Mapping[int, str] = {
    HTTPStatus.FORBIDDEN: "this client is not in status_allow",
    HTTPStatus.MISDIRECTED_REQUEST: "add the name to status_listen.hosts, or use the address",
    HTTPStatus.SERVICE_UNAVAILABLE: "the master does not answer",
    HTTPStatus.UNAUTHORIZED: "a password is wanted there; ask status_listen itself",
}


def _why(error: Exception) -> str:
    match error:
        case PermissionError():
            return "permission denied; owner, group and mode of a Unix socket are status_listen.owner, .group and .mode"
        case FileNotFoundError() | ConnectionRefusedError():
            return "does pyfpm run, and is this its [global] status_listen?"
        case TimeoutError() | BlockingIOError():
            return f"no answer within {ANSWER_TIME:g} s"
        case OSError(strerror=str(text)):
            return text
        case _:
            return "what answers speaks no HTTP"


def _connection(address: str) -> tuple[http.client.HTTPConnection, str]:
    """A connection that is not made yet, and what comes before the paths."""
    try:
        if address.startswith(("http://", "https://")):
            parts = urlsplit(address)
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            return kind(parts.hostname or "", parts.port, timeout=ANSWER_TIME), parts.path.rstrip("/")
        target = parse_target(address)
    except ValueError as error:
        raise ListenerError(f"{address} is no address: {error}") from error
    if target is None:
        raise ListenerError(f"{address} is no address: write http://HOST:PORT, HOST:PORT or the path of a socket")
    target = connectable(target)
    if isinstance(target, TcpAddress):
        return http.client.HTTPConnection(target.host, target.port, timeout=ANSWER_TIME), ""
    return _UnixConnection(target), ""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, target: UnixAddress | AbstractAddress) -> None:
        super().__init__("localhost", timeout=ANSWER_TIME)
        self._path = target.path

    def connect(self) -> None:
        """See http.client."""
        self.sock: socket.socket = connect_unix(self._path, ANSWER_TIME)
        self.sock.settimeout(ANSWER_TIME)
