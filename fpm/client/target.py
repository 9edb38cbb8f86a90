"""From the SOCKET of a command line to an address to connect to.

A path has a slash, a TCP address a colon or digits only (`127.0.0.1:9000`, `[::1]:9000`, `localhost:9000`, `9000`);
everything else is the name of a pool. Pure.
"""

from __future__ import annotations

from fpm.config.model import ListenAddress, TcpAddress, UnixAddress

LOCALHOST = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that one can listen on, but not connect to."""


def parse_target(text: str) -> ListenAddress | None:
    """The address that `text` spells, or None if it is the name of a pool.

    Raises:
        ValueError: it looks like a TCP address, but its port is not a number from 1 to 65535.
    """
    if text.startswith("unix:"):
        return UnixAddress(text.removeprefix("unix:"))
    if "/" in text:
        return UnixAddress(text)
    host, colon, port = text.rpartition(":")
    if not colon and not text.isdecimal():
        return None
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"'{text}' has no port number from 1 to 65535")
    return TcpAddress(host.removeprefix("[").removesuffix("]"), int(port))


def connectable(address: ListenAddress) -> ListenAddress:
    """The address itself, or the loopback one for an address that stands for all of the machine's."""
    if isinstance(address, TcpAddress) and address.host in LOCALHOST:
        return TcpAddress(LOCALHOST[address.host], address.port)
    return address
