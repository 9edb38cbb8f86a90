"""Status and header fields of a response: the checks of PEP 3333, and their form in CGI (RFC 3875 6)."""

from __future__ import annotations

import re

_STATUS = re.compile(r"[1-9][0-9]{2}( .*)?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_FORBIDDEN = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailers",
        "transfer-encoding",
        "upgrade",
        "status",
    }
)
"""Hop-by-hop fields (PEP 3333, RFC 2616 13.5.1) are the web server's; `Status` would replace the status line in CGI."""

_CACHE_LIMIT = 1024
_CACHED_VALUE = 100
"""Characters of the longest value that is remembered."""
_fields: dict[tuple[str, str], tuple[str, int | None]] = {}
"""Fields that have passed the check -> their line, and the number if it is Content-Length. An application sends few
different ones again and again, so that a look-up does for most."""
_statuses: set[str] = {"200 OK"}


def format_head(status: str, headers: list[tuple[str, str]]) -> tuple[str, int | None]:
    """Format the head of a response without its empty line; return it and Content-Length in bytes, if set.

    Raises:
        TypeError: something is not a str, or the headers are not a list of pairs.
        ValueError: a character or a name is not allowed.
    """
    if status not in _statuses:
        _check_status(status)
    if not isinstance(headers, list):
        raise TypeError(f"headers must be a list, not {type(headers).__name__}")
    length = None
    text = f"Status: {status}\r\n"
    for field in headers:
        line, size = _fields.get(field) or _check_field(field)
        text += line
        if size is not None:
            length = size
    return text, length


def _check_field(field: tuple[str, str]) -> tuple[str, int | None]:
    name, value = field
    lower = _check_name(name)
    _check_value(name, value)
    known = (f"{name}: {value}\r\n", _parse_length(value) if lower == "content-length" else None)
    # Only what is exactly str is remembered: a subclass could be equal to one and be something else.
    if len(_fields) < _CACHE_LIMIT and type(name) is type(value) is str and len(value) <= _CACHED_VALUE:
        _fields[name, value] = known
    return known


def _check_status(status: str) -> None:
    if not isinstance(status, str):
        raise TypeError(f"status must be a str, not {type(status).__name__}")
    if not _STATUS.fullmatch(status) or _CONTROL.search(status):
        raise ValueError(f"status {status!r} is not of the form '200 OK'")
    status.encode("latin-1")
    if len(_statuses) < _CACHE_LIMIT:
        _statuses.add(status)


def _check_name(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a header name must be a str, not {type(name).__name__}")
    lower = name.lower()
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name")
    if lower in _FORBIDDEN:
        raise ValueError(f"header {name!r} belongs to the web server; an application must not set it (PEP 3333)")
    return lower


def _check_value(name: str, value: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"the value of header {name!r} must be a str, not {type(value).__name__}")
    if _CONTROL.search(value):
        raise ValueError(f"the value of header {name!r} has a control character: {value!r}")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"the value of header {name!r} is not Latin-1: {value!r}") from None


def _parse_length(value: str) -> int:
    if not value.isdigit() or not value.isascii():
        raise ValueError(f"Content-Length {value!r} is not a number of bytes")
    return int(value)
