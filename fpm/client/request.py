"""The parameters of a FastCGI client's request, and the address it goes to. Pure.

SOCKET in a command line: a path has a slash, a TCP address a colon or only digits (`127.0.0.1:9000`, `[::1]:9000`,
`localhost:9000`, `9000`); anything else is the name of a pool. The parameters are those of a request that no web server
has handled (RFC 3875 section 4.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from fpm.config.model import AbstractAddress, ListenAddress, TcpAddress, UnixAddress

SOFTWARE = "pyfpm"


def request_params(
    method: str,
    target: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    content_length: int | None = None,
    remote: bool = False,
) -> dict[str, str]:
    """Return the parameters that nginx's stock fastcgi_params have for a request to `target` (`/path?query`).

    SCRIPT_FILENAME is the path as well: PHP-FPM finds its status and ping pages only then. REMOTE_ADDR is omitted
    unless `remote`, as by every direct client; pyfpm shows such clients status and ping.

    Args:
        target: text of a command line or a file, like the headers' values; they are sent as UTF-8.

    Raises:
        ValueError: nginx would answer 400 to this target.
    """
    params = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": SOFTWARE,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "localhost",
        "SERVER_ADDR": "127.0.0.1",
        "SERVER_PORT": "80",
        "REQUEST_SCHEME": "http",
        "REQUEST_METHOD": method,
        **_target_params(as_latin1(target.partition("#")[0])),
        "CONTENT_LENGTH": "" if content_length is None else str(content_length),
        "CONTENT_TYPE": "",
        "HTTP_HOST": "localhost",
    }
    if remote:
        params |= {"REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "0"}
    for name, value in headers:
        params[header_param(name)] = as_latin1(value)
    return params


def _target_params(target: str) -> dict[str, str]:
    raw_path, _, query = target.partition("?")
    path = nginx_path(raw_path)
    names = ("DOCUMENT_URI", "SCRIPT_NAME", "SCRIPT_FILENAME")
    return {"REQUEST_URI": target, **dict.fromkeys(names, path), "QUERY_STRING": query}


def as_latin1(text: str) -> str:
    """Return text as a parameter: its bytes in UTF-8, each of them a character."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def nginx_path(path: str) -> str:
    """Decode and tidy the path of a request target as nginx does for `$fastcgi_script_name`, `merge_slashes` included.

    Raises:
        ValueError: nginx would answer 400.
    """
    wrong = _NO_ESCAPE.search(path)
    if wrong is not None:
        raise ValueError(f"the path has '{wrong[0]}', which is no percent-encoded byte; write %25 for a percent sign")
    kept: list[bytes] = []
    *segments, last = unquote_to_bytes(path.encode("latin-1")).split(b"/")
    for segment in [*segments, last]:
        if segment == b"..":
            if not kept:
                raise ValueError("the path leads above the root")
            kept.pop()
        elif segment not in (b"", b"."):
            kept.append(segment)
    end = b"/" if last in (b"", b".", b"..") and kept else b""
    return (b"/" + b"/".join(kept) + end).decode("latin-1")


_NO_ESCAPE = re.compile(r"%00|%(?![0-9A-Fa-f]{2}).{0,2}")


def header_param(name: str) -> str:
    """Return the name of the parameter for an HTTP header."""
    param = name.upper().replace("-", "_")
    return param if param in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + param


LOCALHOST = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that a server can listen on, but a client cannot connect to."""


def parse_target(text: str) -> ListenAddress | None:
    """Parse `text` into an address; return None if it is the name of a pool.

    Raises:
        ValueError: it looks like a TCP address, but its port is not a number from 1 to 65535.
    """
    path = text.removeprefix("unix:")
    if path.startswith("@"):
        return AbstractAddress(path[1:])
    if path != text:
        return UnixAddress(path)
    if "/" in text:
        return UnixAddress(text)
    host, colon, port = text.rpartition(":")
    if not colon and not text.isdecimal():
        return None
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"'{text}' has no port number from 1 to 65535")
    return TcpAddress(host.removeprefix("[").removesuffix("]"), int(port))


def connectable(address: ListenAddress) -> ListenAddress:
    """Replace an address that means all of the machine's by the loopback address."""
    if isinstance(address, TcpAddress) and address.host in LOCALHOST:
        return TcpAddress(LOCALHOST[address.host], address.port)
    return address
