"""The access log as lines of JSON (access.format = json). Pure.

Texts are escaped as in the other formats (`\\x22` for a quote), so they hold nothing that JSON would have to escape
but the backslash. What a client can make long is cut, so that a line is written to a pipe in one piece (PIPE_BUF,
pipe(7)), and is always a whole object. No entry has a field `level`: entries of the error log have one.
"""

from __future__ import annotations

from collections.abc import Callable

from fpm.log.access_record import AccessRecord
from fpm.log.escape import cut, decode_wire, escape_field
from fpm.log.times import format_utc

JSON = "json"
"""The value of access.format."""
LINE_MAX = 4096
"""Bytes, more than a line can have."""
TEXT_MAX = 800
"""Bytes of the path, and of the query."""
WORD_MAX = 64
"""Bytes of the method, the user and the client's address."""

Token = Callable[[AccessRecord], str]


def json_tokens(limit: int) -> list[Token]:
    """Return what a line consists of.

    Args:
        limit: bytes of path and query, if that is less than TEXT_MAX.
    """
    texts = min(limit, TEXT_MAX)
    return [
        lambda record: f'{{"time": "{format_utc(record.accepted)}", "pool": {_text(record.pool, WORD_MAX)}',
        lambda record: f', "event": "request", "pid": {record.pid}, "client": {_text(record.remote, WORD_MAX)}',
        lambda record: f', "user": {_text(record.user, WORD_MAX)}, "method": {_text(record.method, WORD_MAX)}',
        lambda record: f', "path": {_text(record.uri, texts)}, "query": {_text(record.query, texts)}',
        lambda record: f', "status": {record.status}, "seconds": {record.duration / 1e6:.6f}',
        lambda record: f', "request_bytes": {record.content_length}}}',
    ]


def _text(wire: str, limit: int) -> str:
    """Return a text from the wire as a string of JSON; the backslashes are doubled after the cut, never split."""
    return '"' + cut(escape_field(decode_wire(wire)), limit).replace("\\", "\\\\") + '"'
