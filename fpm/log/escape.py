"""Texts from outside, made fit for a log line, a status page and a terminal.

Texts from the wire travel as latin-1 (PEP 3333), one character for each byte. Shown, they are UTF-8 where they can be;
a byte that is not part of UTF-8 stays the latin-1 character. What could end a line, drive a terminal or turn the
reading direction is written as `\\xNN`, byte for byte. Pure.
"""

from __future__ import annotations


def _spell(code: int) -> str:
    return "".join(f"\\x{byte:02x}" for byte in chr(code).encode("utf-8", "surrogatepass"))


_TAB = 0x09
_BIDI = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
"""Characters that turn the reading direction: a line would read differently from what it says."""
_NO_TEXT = [0xFFFE, 0xFFFF, *range(0xD800, 0xE000)]
"""What XML 1.0 (production 2) or UTF-8 does not allow."""
_UNSAFE = {code: _spell(code) for code in [*range(0x20), 0x7F, 0x2028, 0x2029, *_BIDI, *_NO_TEXT]}
# The C1 controls (0x9b begins a terminal's control sequence) come mostly from bytes that were no UTF-8.
_UNSAFE |= {code: f"\\x{code:02x}" for code in range(0x80, 0xA0)}
_UNSAFE_WITHOUT_TAB = {code: text for code, text in _UNSAFE.items() if code != _TAB}
_UNSAFE_AND_QUOTE = _UNSAFE | {ord('"'): "\\x22", ord("\\"): "\\x5c"}


def decode_wire(text: str) -> str:
    """A latin-1 text from the wire as what it most likely says."""
    if text.isascii():
        return text
    decoded = text.encode("latin-1", "replace").decode("utf-8", "surrogateescape")
    return decoded if decoded.isprintable() else show_stray_bytes(decoded)


def show_stray_bytes(text: str) -> str:
    """Show what was not UTF-8 (the surrogates of PEP 383) as latin-1 characters."""
    return "".join(chr(ord(one) - 0xDC00) if "\udc80" <= one <= "\udcff" else one for one in text)


def escape(text: str) -> str:
    """Write unsafe characters, the tab among them, as `\\xNN`."""
    return text if text.isprintable() else text.translate(_UNSAFE)


def escape_line(text: str) -> str:
    """As `escape`, but a tab stays: for lines of free text."""
    return text if text.isprintable() else text.translate(_UNSAFE_WITHOUT_TAB)


def escape_field(text: str) -> str:
    """As `escape`, and also `"` and the backslash: for a field of a line that quotes its fields, as nginx does it."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return text.translate(_UNSAFE_AND_QUOTE)


def cut(line: str, limit: int) -> str:
    """Bound a line to `limit` bytes of UTF-8; one that was longer ends in `...`."""
    data = line.encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return line
    return data[: max(limit - 3, 0)].decode("utf-8", "ignore") + "..."
