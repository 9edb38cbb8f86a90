"""Name-value pairs (3.4): lengths of one byte, or of four with the high bit set, then the name, then the value.

Bytes become text by Latin-1, which is what PEP 3333 calls native strings, and which loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from fpm.errors import ProtocolError

_MARK = b"\x80"
_MARKED = bytes(byte if byte < 0x80 else 0x80 for byte in range(256))
"""For bytes.translate: of 128 or more, or not. Looking for one byte is fast, and done once for each that is there."""
_JOINERS = {"HTTP_COOKIE": "; "}
"""How repeated HTTP_ names are put together; others by a comma (RFC 9110 5.3), cookies not (RFC 6265 5.4)."""
_SINGLE = frozenset({"HTTP_HOST"})
"""Names of which the last counts: `include fastcgi_params` and then `fastcgi_param HTTP_HOST ...` sends both."""


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


def decode_params(data: bytes, start: int = 0, end: int | None = None) -> dict[str, str]:
    """The pairs in data[start:end].

    Names that come twice: HTTP_ ones are joined, as nginx and h2o send a repeated header as a repeated name; of the
    others the last counts, as nginx sends a `fastcgi_param` that overrides an included one after it.

    Raises:
        ProtocolError: a length points behind the end.
    """
    content = data[start:end]
    try:
        params, count = _decode(content)
    except IndexError:
        raise ProtocolError("a name-value pair ends in the middle of its lengths") from None
    return params if count == len(params) else _join_repeated(content)


def _decode(content: bytes) -> tuple[dict[str, str], int]:
    """The pairs, and how many there were.

    The inner loop runs for nearly every variable of every request and is most of what a short request costs in Python,
    hence its form. It goes through the same bytes in three shapes: at the position of a pair, `content` has the length
    of its name, `value_sizes` that of its value, and `text` begins with its name.
    """
    value_sizes = content[1:]
    text = content[2:].decode("latin-1")
    find_long = (content if content.isascii() else content.translate(_MARKED)).find
    params: dict[str, str] = {}
    count = 0
    position = 0
    stop = len(content)
    while position < stop:
        # Up to the next byte of 128 or more no length is a long one.
        long = find_long(_MARK, position)
        last_short = stop if long < 0 else long - 1
        while position < last_short:
            split = position + content[position]
            end = split + value_sizes[position]
            params[text[position:split]] = text[split:end]
            position = end + 2
            count += 1
        if position < stop:
            name_size, value_size, position = _read_sizes(content, position)
            split = position + name_size
            end = split + value_size
            params[text[position:split]] = text[split:end]
            position = end + 2
            count += 1
    if position != stop:
        raise ProtocolError("a name-value pair is longer than the stream that carries it")
    return params, count


def _read_sizes(content: bytes, position: int) -> tuple[int, int, int]:
    """Both lengths of a pair, and the position it would have with lengths of one byte."""
    sizes = []
    for _ in range(2):
        size = content[position]
        position += 1
        if size >= 128:
            size = (size & 127) << 24 | content[position] << 16 | content[position + 1] << 8 | content[position + 2]
            position += 3
        sizes.append(size)
    return sizes[0], sizes[1], position - 2


def _decode_pairs(content: bytes) -> Iterator[tuple[str, str]]:
    """The pairs one by one; for content that has been decoded once and so is well formed."""
    text = content[2:].decode("latin-1")
    position = 0
    while position < len(content):
        name_size, value_size, position = _read_sizes(content, position)
        split = position + name_size
        yield text[position:split], text[split : split + value_size]
        position = split + value_size + 2


def _join_repeated(content: bytes) -> dict[str, str]:
    values: dict[str, list[str]] = {}
    for name, value in _decode_pairs(content):
        if name.startswith("HTTP_") and name not in _SINGLE:
            values.setdefault(name, []).append(value)
        else:
            values[name] = [value]
    return {name: _JOINERS.get(name, ", ").join(parts) for name, parts in values.items()}


def encode_pair(name: bytes, value: bytes) -> bytes:
    """One pair as bytes, with the shortest lengths."""
    return _encode_size(len(name)) + _encode_size(len(value)) + name + value


def _encode_size(size: int) -> bytes:
    return bytes([size]) if size < 128 else (size | 1 << 31).to_bytes(4, "big")


class ParamsDecoder:
    """Decodes parameters that have been decoded before without going through them again.

    A web server sends much the same for each request. With nginx's fastcgi_params (and Apache's order) REMOTE_PORT,
    which differs from connection to connection, parts the request from the rest: what stands before it depends on the
    URL, what stands after it on the site and on the headers of the client. Both parts are remembered by their bytes.

    That a part is whole pairs is known because it was decoded from the very same bytes, ending where it ends now:
    whatever a client writes into a header, a part that is found means what it meant.
    """

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
