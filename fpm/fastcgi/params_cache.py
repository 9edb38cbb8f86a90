"""Decodes parameters that have been decoded before without going through them again.

A web server sends much the same for each request. With nginx's fastcgi_params (and Apache's order) REMOTE_PORT, which
differs from connection to connection, parts the request from the rest: what stands before it depends on the URL, what
stands after it on the site and on the headers of the client. Both parts are remembered by their bytes.

That a part is whole pairs is known because it was decoded from the very same bytes, ending where it ends now: whatever
a client writes into a header, a part that is found means what it meant.
"""

from __future__ import annotations

from fpm.errors import ProtocolError
from fpm.fastcgi.params import decode_params

PART_MAX = 4096
"""Bytes of a part that is worth remembering."""
PARTS_MAX = 256
"""Parts remembered of each kind, so at most 2 MiB; then they are forgotten all together."""

_PORT = b"REMOTE_PORT"
_PORT_NAME = _PORT.decode()
_PORT_SIZE = len(_PORT)
_LONG = 128
"""A length from here on has four bytes (3.4)."""
_REQUEST_NAMES = frozenset(
    {
        "QUERY_STRING",
        "REQUEST_METHOD",
        "CONTENT_TYPE",
        "CONTENT_LENGTH",
        "SCRIPT_NAME",
        "SCRIPT_FILENAME",
        "PATH_INFO",
        "REQUEST_URI",
        "DOCUMENT_URI",
        "DOCUMENT_ROOT",
        "SERVER_PROTOCOL",
        "REQUEST_SCHEME",
        "HTTPS",
        "GATEWAY_INTERFACE",
        "SERVER_SOFTWARE",
        "REMOTE_ADDR",
    }
)
"""What may stand before REMOTE_PORT, and then not after it: so no name can come twice, once in each part."""


class ParamsDecoder:
    """The decoder of one worker, with its memory."""

    def __init__(self) -> None:
        self._before: dict[bytes, dict[str, str]] = {}
        self._after: dict[bytes, dict[str, str]] = {}

    def decode(self, data: bytes, start: int, end: int) -> dict[str, str]:
        """The same as decode_params(); the dictionary is the caller's.

        Raises:
            ProtocolError: as decode_params().
        """
        port = data.find(_PORT, start, end)
        if port < start + 2 or data[port - 2] != _PORT_SIZE:
            return decode_params(data, start, end)
        value = port + _PORT_SIZE
        size = data[port - 1]
        value_end = value + size
        if value_end > end or size >= _LONG:
            return decode_params(data, start, end)
        before_bytes = data[start : port - 2]
        after_bytes = data[value_end:end]
        before = self._before.get(before_bytes)
        after = self._after.get(after_bytes)
        if before is None or after is None:
            before = before or _remember(self._before, before_bytes, is_before=True)
            after = after or _remember(self._after, after_bytes, is_before=False)
            if before is None or after is None:
                return decode_params(data, start, end)
        return {**before, _PORT_NAME: data[value:value_end].decode("latin-1"), **after}


def _remember(parts: dict[bytes, dict[str, str]], content: bytes, *, is_before: bool) -> dict[str, str] | None:
    """Decode a part and keep it; None if it is no part of its own."""
    if len(content) > PART_MAX:
        return None
    try:
        params = decode_params(content)
    except ProtocolError:
        return None  # the bytes REMOTE_PORT stand within a value, not between pairs
    is_part = params.keys() <= _REQUEST_NAMES if is_before else params.keys().isdisjoint(_REQUEST_NAMES)
    if not is_part or _PORT_NAME in params:
        return None
    if len(parts) >= PARTS_MAX:
        parts.clear()
    parts[content] = params
    return params
