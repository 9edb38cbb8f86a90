"""Makes text from outside safe for a log line, a status page and a terminal.

Text from the wire is latin-1 (PEP 3333), one character for each byte. It is shown as UTF-8 where it is valid; a byte
that is not part of UTF-8 stays the latin-1 character. What could end a line, control a terminal or change the reading
direction is written as `\\xNN`, byte for byte. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


def _spell(code: int) -> str:
    return "".join(f"\\x{byte:02x}" for byte in chr(code).encode("utf-8", "surrogatepass"))


_TAB = 0x09
_BIDI = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
"""Characters that change the reading direction, so that a line would display as something else."""
_NO_TEXT = [0xFFFE, 0xFFFF]
"""Characters that XML 1.0 (production 2) does not allow, beside the surrogates."""
_SURROGATE = re.compile("[\ud800-\udfff]")
"""What UTF-8 does not allow. In the tables they would take half a megabyte of every process."""
_UNSAFE = {code: _spell(code) for code in [*range(0x20), 0x7F, 0x2028, 0x2029, *_BIDI, *_NO_TEXT]}
# C1 controls (0x9b starts a terminal's control sequence) come mostly from bytes that are not UTF-8.
_UNSAFE |= {code: f"\\x{code:02x}" for code in range(0x80, 0xA0)}
_UNSAFE_WITHOUT_TAB = {code: text for code, text in _UNSAFE.items() if code != _TAB}
_UNSAFE_AND_QUOTE = _UNSAFE | {ord('"'): "\\x22", ord("\\"): "\\x5c"}


def _translate(text: str, table: Mapping[int, str]) -> str:
    return _SURROGATE.sub(lambda found: _spell(ord(found[0])), text.translate(table))


def decode_wire(text: str) -> str:
    """Decode latin-1 text from the wire as UTF-8 where it is valid."""
    if text.isascii():
        return text
    decoded = text.encode("latin-1", "replace").decode("utf-8", "surrogateescape")
    return decoded if decoded.isprintable() else show_stray_bytes(decoded)


def show_stray_bytes(text: str) -> str:
    """Replace bytes that were not UTF-8 (the surrogates of PEP 383) by latin-1 characters."""
    return "".join(chr(ord(one) - 0xDC00) if "\udc80" <= one <= "\udcff" else one for one in text)


def escape(text: str) -> str:
    """Write unsafe characters, including tabs, as `\\xNN`."""
    return text if text.isprintable() else _translate(text, _UNSAFE)


def escape_line(text: str) -> str:
    """Escape all but tabs, for lines of free text."""
    return text if text.isprintable() else _translate(text, _UNSAFE_WITHOUT_TAB)


def escape_lines(text: str) -> str:
    """Escape text of several lines for a terminal: their ends and tabs stay, bytes that are not UTF-8 are latin-1."""
    if text.isprintable():
        return text
    return "\n".join(escape_line(show_stray_bytes(line.removesuffix("\r"))) for line in text.split("\n"))


def escape_field(text: str) -> str:
    """Escape `"` and the backslash as well, for a field in quotes, as nginx does."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return _translate(text, _UNSAFE_AND_QUOTE)


def cut(line: str, limit: int) -> str:
    """Cut a line to `limit` bytes of UTF-8, ending in `...` if it was longer."""
    data = line.encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return line
    return data[: max(limit - 3, 0)].decode("utf-8", "ignore") + "..."
