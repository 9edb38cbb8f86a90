"""Status and header fields of a response: the checks of PEP 3333, and their form in CGI (RFC 3875 6)."""

from __future__ import annotations

import re

_STATUS = re.compile(r"[1-9][0-9]{2}( .*)?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailers",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields of one connection (PEP 3333, RFC 2616 13.5.1), which is the web server's: they are left out. Views that pass
another server's answer on set them, and most examples of event streams."""
_LEFT_OUT = -1
"""Stands where a length would: the field is left out, and that has not been said yet."""
_SHOWN = 200
"""Characters of what an application has given in place of headers."""
Fields = tuple[str, int | None, tuple[str, ...]]

_CACHE_LIMIT = 1024
_CACHED_VALUE = 100
"""Characters of the longest value that is remembered."""
known_fields: dict[tuple[str, str], tuple[str, int | None]] = {}
"""Fields that have passed the check -> their line, and the number if it is Content-Length. An application sends few
different ones again and again, so that a look-up does for most."""
known_statuses: set[str] = {"200 OK"}
_told: set[str] = set()
"""Names in lower case of fields that were left out, and that somebody was told of."""


def format_head(status: str, headers: list[tuple[str, str]]) -> Fields:
    """Check the head of a response and format its fields, without the status.

    Returns:
        The lines, Content-Length in bytes if it is set, and the names of fields that are left out as they belong to
        the web server; each name is told once in the life of the process.

    Raises:
        TypeError: something is not a str, or the headers are not a list of pairs.
        ValueError: a character or a name is not allowed.
    """
    if status not in known_statuses:
        _check_status(status)
    if not isinstance(headers, list):
        raise TypeError(f"headers must be a list of tuples (name, value), not {_show(headers)}")
    length = None
    text = ""
    left_out: tuple[str, ...] = ()
    try:
        for field in headers:
            line, size = known_fields.get(field) or _check_field(field)
            text += line
            if size is not None:
                if size == _LEFT_OUT:
                    left_out += (field[0],)
                else:
                    length = size
    except TypeError:  # something that cannot be looked up in a dictionary, a list for example
        _check_field(field)
        raise
    return text, length, left_out


def encode_head(fields: str, status: str) -> bytes:
    """Make the head as it goes out.

    The status comes last: where a Location follows it, HAProxy 2.6 makes a 302 of any status.
    """
    return f"{fields}Status: {status}\r\n\r\n".encode("latin-1")


def _show(value: object) -> str:
    return f"a {type(value).__name__}: {repr(value)[:_SHOWN]}"


def _check_field(field: tuple[str, str]) -> tuple[str, int | None]:
    if not isinstance(field, tuple) or len(field) != 2:
        raise TypeError(f"a header must be a tuple (name, value), not {_show(field)}")
    name, value = field
    lower = _check_name(name)
    _check_value(name, value)
    if lower in _HOP_BY_HOP:
        known: tuple[str, int | None] = ("", None)
        if lower not in _told:
            _told.add(lower)
            return "", _LEFT_OUT
    else:
        known = (f"{name}: {value}\r\n", _parse_length(value) if lower == "content-length" else None)
    # Only what is exactly str is remembered: a subclass could be equal to one and be something else.
    if len(known_fields) < _CACHE_LIMIT and type(name) is type(value) is str and len(value) <= _CACHED_VALUE:
        known_fields[name, value] = known
    return known


def _check_status(status: str) -> None:
    if not isinstance(status, str):
        raise TypeError(f"status must be a str, not {type(status).__name__}")
    if not _STATUS.fullmatch(status) or _CONTROL.search(status):
        raise ValueError(f"status {status!r} is not of the form '200 OK'")
    status.encode("latin-1")
    if len(known_statuses) < _CACHE_LIMIT:
        known_statuses.add(status)


def _check_name(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a header name must be a str, not {type(name).__name__}")
    lower = name.lower()
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name")
    if lower == "status":
        raise ValueError("header 'Status' would replace the status line: give the status to start_response()")
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
