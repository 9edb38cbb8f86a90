"""Parses the head of a CGI response (RFC 3875 section 6), which a FastCGI responder sends first on STDOUT. Pure."""

from __future__ import annotations

import re
from http import HTTPStatus

from fpm.errors import PeerGarbage
from fpm.frozen import dataclass

HEAD_LIMIT = 65536
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(r"([1-9][0-9]{2})(?: ([^\r\n]*))?\Z")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers; `headers` keeps order and repetitions, without Status."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]


def split_head(data: bytes) -> tuple[bytes, bytes] | None:
    """Split into (head, start of the body) once the empty line has come; return None before.

    Raises:
        PeerGarbage: the head is longer than HEAD_LIMIT bytes.
    """
    found = _END_OF_HEAD.search(data, 0, HEAD_LIMIT)
    if found:
        return data[: found.start()], data[found.end() :]
    if len(data) >= HEAD_LIMIT:
        raise PeerGarbage(f"the response headers are longer than {HEAD_LIMIT} bytes")
    return None


def parse_head(data: bytes) -> Head:
    """Parse the lines before the empty one; they may end in LF alone (RFC 3875 section 6.2).

    Without a Status line the status is 200, or 302 if there is a Location (section 6.2.3).

    Raises:
        PeerGarbage: a line is no header, or the status is not three digits.
    """
    status: tuple[int, str] | None = None
    headers: list[tuple[str, str]] = []
    for line in data.decode("latin-1").replace("\r\n", "\n").split("\n"):
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.match(name) or "\r" in value or "\0" in value:
            raise PeerGarbage(f"the response has a malformed header line: {line[:80]!r}")
        if name.lower() == "status":
            status = _parse_status(value.strip(" \t"))
        else:
            headers.append((name, value.strip(" \t")))
    if status is None:
        redirects = any(name.lower() == "location" for name, _ in headers)
        status = _parse_status("302" if redirects else "200")
    return Head(*status, tuple(headers))


def _parse_status(text: str) -> tuple[int, str]:
    found = _STATUS.match(text)
    if not found:
        raise PeerGarbage(f"the response has a malformed status: {text[:80]!r}")
    number, reason = int(found[1]), found[2]
    return number, reason or _phrase(number)


def _phrase(number: int) -> str:
    try:
        return HTTPStatus(number).phrase
    except ValueError:
        return "Unknown"
