"""From a path to the pattern under which its requests are counted: what stands for one of many is given by its kind.

`/orders/1234` and `/orders/1235` are `/orders/<n>`. The parts of a path are its runs of ASCII letters and digits; what
is between them stays as it is. The compiled hot path does the same, byte for byte (fold_path() in fpm/_hotpath.c).

To fold is too much for each request in plain Python, so Patterns remembers: what decides is of which kind each
character is, so paths that have digits in the same places have the same pattern, but for digits that stay in it. Pure.
"""

from __future__ import annotations

import re

LOOKED_AT = 512
"""Bytes of a path; a longer one is cut before the part that begins at a slash and does not end within them."""
SEGMENT_MAX = 64
"""Bytes of a pattern between two slashes."""
TEXT_MAX = 120
"""Bytes of a pattern."""
CUT = b"/..."
"""Ends a pattern, or a path, that was too long."""
HASH_MIN = 8
"""Hexadecimal digits with a decimal one among them, from which on they are taken for a hash."""
TOKEN_MIN = 16
"""Letters and digits in turn, likewise."""
OPAQUE_MIN = 32
"""Any letters and digits, likewise."""
UUID_SIZE = 36

PATHS_MAX = 1024
PATH_MAX = 256
"""Paths, and characters of them, whose pattern is remembered."""

_UUID = re.compile(
    rb"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Za-z])"  # RFC 9562 4
)
_NUMBER = re.compile(rb"(?<![0-9A-Za-z])[0-9]+(?![0-9A-Za-z])")
_OPAQUE = re.compile(rb"[A-Za-z]{32}")
_PART = re.compile(rb"[0-9A-Za-z]+")
_DIGITS = re.compile(rb"[0-9]+")
_HEXADECIMAL = b"0123456789ABCDEFabcdef"
_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
_ZERO = ord("0")
_NOTHING = slice(0, 0)


def fold_path(path: bytes) -> bytes:
    """Return the pattern of a path, which may be any bytes; its own pattern is the same again."""
    if len(path) > LOOKED_AT:
        path = path[: max(path.rfind(b"/", 0, LOOKED_AT), 0)] + CUT
    text = _NUMBER.sub(b"<n>", _UUID.sub(b"<uuid>", path) if b"-" in path else path)
    if _ZERO in text.translate(_ZEROS) or (len(text) >= OPAQUE_MIN and _OPAQUE.search(text)):
        text = _PART.sub(_kind, text)
    if len(text) > SEGMENT_MAX:
        segments = text.split(b"/")
        text = b"/".join([segment if len(segment) <= SEGMENT_MAX else b"<long>" for segment in segments])
    if len(text) > TEXT_MAX:
        text = text[: text.rfind(b"/", 0, TEXT_MAX - len(CUT) + 1)] + CUT
    return text or b"/"


def _kind(found: re.Match[bytes]) -> bytes:
    part = found[0]
    size = len(part)
    if size >= OPAQUE_MIN:
        return b"<hash>"
    if size < HASH_MIN or part.isalpha():
        return part
    is_token = size >= TOKEN_MIN and len(_DIGITS.findall(part)) > 1
    return b"<hash>" if is_token or not part.strip(_HEXADECIMAL) else part


class Patterns(dict[str, bytes]):
    """The patterns of paths, decoded as Latin-1 as in environ; each is found out when it is first asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[bytes, slice] = {}
        """For paths with all digits replaced by zeros: from where to where digits stay in the pattern."""
        self._known: dict[tuple[bytes, bytes], bytes] = {}
        """Patterns by such a path and what stands in that place."""

    def __missing__(self, path: str) -> bytes:
        data = path.encode("latin-1", "replace")
        if len(data) > PATH_MAX:
            return fold_path(data)
        zeros = data.translate(_ZEROS)
        kept = self._kept.get(zeros)
        if kept is None or not (text := self._known.get((zeros, data[kept]))):
            if len(data) < OPAQUE_MIN and _ZERO not in zeros:
                text = data or b"/"
            elif len(data) >= UUID_SIZE and (rest := _UUID.sub(b"<uuid>", data)) != data:
                text = self[rest.decode("latin-1")]
            else:
                text = self._learn(data, zeros)
        if len(self) >= PATHS_MAX:
            self.clear()
        self[path] = text
        return text

    def _learn(self, path: bytes, zeros: bytes) -> bytes:
        if len(self._kept) >= PATHS_MAX:
            self._kept.clear()
        if len(self._known) >= PATHS_MAX:
            self._known.clear()
        kept = self._kept[zeros] = _digits_that_stay(path)
        text = self._known[zeros, path[kept]] = fold_path(path)
        return text


def _digits_that_stay(path: bytes) -> slice:
    """Return where the first part begins that keeps its digits, and where the last one ends."""
    found = [part.span() for part in _PART.finditer(path) if _DIGITS.search(part[0]) and _kind(part) == part[0]]
    spans = [(begin, end) for begin, end in found if not path[begin:end].isdigit()]
    return slice(spans[0][0], spans[-1][1]) if spans else _NOTHING
