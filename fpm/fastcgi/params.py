"""Name-value pairs (3.4): lengths of one byte, or of four with the high bit set, then the name, then the value.

Bytes become text by Latin-1, which is what PEP 3333 calls native strings, and which loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from fpm.errors import ProtocolError

_JOINERS = {"HTTP_COOKIE": "; "}
"""How repeated HTTP_ names are put together; others by a comma (RFC 9110 5.3), cookies not (RFC 6265 5.4)."""
_SINGLE = frozenset({"HTTP_HOST"})
"""Names of which the last counts: `include fastcgi_params` and then `fastcgi_param HTTP_HOST ...` sends both."""


def decode_params(data: bytes, start: int = 0, end: int | None = None) -> dict[str, str]:
    """The pairs in data[start:end].

    Names that come twice: HTTP_ ones are joined, as nginx and h2o send a repeated header as a repeated name; of the
    others the last counts, as nginx sends a `fastcgi_param` that overrides an included one after it.

    Raises:
        ProtocolError: a length points behind the end.
    """
    stop = len(data) if end is None else end
    text = data.decode("latin-1")
    params: dict[str, str] = {}
    count = 0
    position = start
    try:
        # The one loop that runs for every variable of every request, hence its plainness.
        while position < stop:
            name_size = data[position]
            value_size = data[position + 1]
            if name_size < 128 and value_size < 128:
                position += 2
            else:
                name_size, value_size, position = _long_sizes(data, position)
            value_start = position + name_size
            name = text[position:value_start]
            position = value_start + value_size
            params[name] = text[value_start:position]
            count += 1
    except IndexError:
        raise ProtocolError("a name-value pair ends in the middle of its lengths") from None
    if position != stop:
        raise ProtocolError("a name-value pair is longer than the stream that carries it")
    if count != len(params):
        return _join_repeated(_decode_pairs(data, text, start, stop))
    return params


def _long_sizes(data: bytes, position: int) -> tuple[int, int, int]:
    sizes = []
    for _ in range(2):
        size = data[position]
        position += 1
        if size >= 128:
            size = (size & 127) << 24 | data[position] << 16 | data[position + 1] << 8 | data[position + 2]
            position += 3
        sizes.append(size)
    return sizes[0], sizes[1], position


def _decode_pairs(data: bytes, text: str, start: int, stop: int) -> Iterable[tuple[str, str]]:
    position = start
    while position < stop:
        name_size, value_size, position = _long_sizes(data, position)
        value_start = position + name_size
        yield text[position:value_start], text[value_start : value_start + value_size]
        position = value_start + value_size


def _join_repeated(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
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
