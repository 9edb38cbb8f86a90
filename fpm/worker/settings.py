"""The settings in force in a worker: one object, which everything that serves asks when it needs a value. Pure."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from fpm.fastcgi.connection import Connection
from fpm.protocol.spec import WorkerSettings

Networks = list[IPv4Network | IPv6Network]

NEVER = 1 << 62
"""Microseconds that no request takes, bytes that no process uses."""


class ActiveSettings:
    """The settings in force, and what follows from them.

    Attributes:
        given: as the master has sent them.
        slow_limit: request_slowlog_timeout in microseconds; NEVER without one.
        allowed_clients: networks from which TCP clients may connect; empty: all.
        status_allow: networks from which status and ping may be asked for.
        own_paths: paths that the worker may answer without the application.
    """

    given: WorkerSettings
    slow_limit: int
    allowed_clients: Networks
    status_allow: Networks
    own_paths: frozenset[str]

    def __init__(self, given: WorkerSettings) -> None:
        self.apply(given)

    def apply(self, given: WorkerSettings) -> None:
        """Put other settings in force, from the next question on."""
        self.given = given
        self.slow_limit = int(given.request_slowlog_timeout * 1e6) or NEVER
        self.allowed_clients = _networks(given.listen_allowed_clients)
        self.status_allow = _networks(given.pm_status_allow)
        self.own_paths = frozenset(path for path in (given.pm_status_path, given.ping_path) if path)

    def make_machine(self) -> Connection:
        """Make the state machine of a connection."""
        return Connection(max_conns=self.given.pm_max_children, max_reqs=self.given.pm_max_children)


def _networks(texts: list[str]) -> Networks:
    return [ip_network(text, strict=False) for text in texts]


def is_within(address: str, networks: Networks) -> bool:
    """Decide whether an IP address is in one of the networks; one that is mapped into IPv6 counts as IPv4.

    Raises:
        ValueError: it is no IP address.
    """
    client = ip_address(address)
    mapped = getattr(client, "ipv4_mapped", None)
    return any((mapped or client) in network for network in networks)
