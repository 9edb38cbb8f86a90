"""Parsers of listening addresses, and of the addresses and networks of clients. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address, ip_network

from fpm.config.invalid_value import InvalidValue
from fpm.config.model import AbstractAddress, ListenAddress, Network, TcpAddress, UnixAddress

SUN_PATH_MAX = 107
"""Bytes of a Unix socket's path: sun_path of unix(7) without its final NUL."""

_HOST_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:/\[\]]*):(?P<port>[^:/]*)")
_HOST_NAME = re.compile(r"\.?(?=.*[A-Za-z])[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


def parse_address(text: str) -> ListenAddress:
    """Parse a listening address; the path of a Unix socket is returned as written and may be relative.

    Raises:
        InvalidValue: lists the accepted forms.
    """
    if text.isascii() and text.isdigit():
        return TcpAddress("", _port(text))
    if text.startswith("unix:"):
        raise InvalidValue(f"write the path alone, '{text[5:]}' (the 'unix:' is for nginx)")
    if text.startswith("@"):
        return _abstract(text)
    if "/" in text or (":" not in text and text.endswith((".sock", ".socket"))):
        return UnixAddress(text)
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise InvalidValue(
            f"'{text}' is not a listening address. Write /path/to/socket, @name, address:port, [IPv6 address]:port, or "
            "port"
        )
    return TcpAddress(_host(match["host"]), _port(match["port"]))


def _abstract(text: str) -> AbstractAddress:
    length = len(text.encode("utf-8", "surrogateescape")) - 1
    if not 1 <= length <= SUN_PATH_MAX:
        raise InvalidValue(
            f"the name of an abstract socket has 1 to {SUN_PATH_MAX} bytes after the '@', found {length}: '{text}'"
        )
    return AbstractAddress(text[1:])


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 8 and 1 <= int(text) <= 65535):
        raise InvalidValue(f"invalid port value '{text}'. A port is a number from 1 to 65535")
    return int(text)


def _host(text: str) -> str:
    if text in ("", "*"):
        return ""
    if text.lower() == "localhost":
        return "127.0.0.1"
    try:
        address = ip_address(text.strip("[]"))
    except ValueError:
        raise InvalidValue(
            f"'{text}' is not an IP address. Host names are not resolved: write the address, or only a port for all "
            "addresses"
        ) from None
    if isinstance(address, IPv6Address) != text.startswith("["):
        raise InvalidValue(f"'{text}': write an IPv6 address, and no other, in brackets, as in [::1]:9000")
    return str(address)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Parse addresses and networks, separated by commas or spaces.

    Raises:
        InvalidValue: says what was expected.
    """
    return tuple(_network(word) for word in split_words(text))


def _network(word: str) -> Network:
    try:
        return ip_network(word)
    except ValueError as error:
        if "has host bits set" in str(error):
            raise InvalidValue(
                f"'{word}' is an address within a network. Write {ip_network(word, strict=False)}"
            ) from None
        kind = "Host names are not resolved: write" if _HOST_NAME.fullmatch(word) else "Write"
        example = f"{kind} addresses or networks, as in 10.0.0.0/8 ::1"
        raise InvalidValue(f"Wrong IP address '{word}'. {example}") from None


def split_words(text: str) -> list[str]:
    """Split words separated by commas or spaces."""
    return text.replace(",", " ").split()
