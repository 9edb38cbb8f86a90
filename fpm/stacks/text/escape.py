"""How a text stands in a line of a slow log, and how it is read back.

Names, paths and URIs come from a worker, so each may be anything. In the text form a backslash, what could end a line
or drive a terminal, and the beginnings of entries and frames are written as `\\xNN`, byte for byte: no text can be
taken for a line of its own.
"""

from __future__ import annotations

import re

from fpm.log.escape import escape, show_stray_bytes

NAME_MAX = 500
"""Characters of a function's name."""
TEXT_MAX = 4000
"""Characters of a path, a URI or a reason."""
VALUE_MAX = 200
"""Characters of a local value."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_SPELLED = re.compile(r"(?:\\x[0-9a-f]{2})+")


def bound(text: str, limit: int = TEXT_MAX) -> str:
    """At most `limit` characters; bytes that were no UTF-8 become latin-1 characters, other surrogates U+FFFD."""
    kept = text if len(text) <= limit else text[: limit - 3] + "..."
    return kept if kept.isascii() else _SURROGATE.sub("\ufffd", show_stray_bytes(kept))


def spell(text: str, limit: int = TEXT_MAX) -> str:
    """A text for a line of the text form."""
    shown = bound(text, limit)
    if "\\" in shown:
        shown = shown.replace("\\", "\\x5c")
    if "[" in shown:
        shown = shown.replace("[0x", "\\x5b0x").replace("[pool", "\\x5bpool")
    if '{"time"' in shown:
        shown = shown.replace('{"time"', '\\x7b"time"')
    return escape(shown)


def unspell(text: str) -> str:
    """The text that `spell` was given."""
    return _SPELLED.sub(_decode, text) if "\\x" in text else text


def _decode(run: re.Match[str]) -> str:
    return show_stray_bytes(bytes.fromhex(run[0].replace("\\x", "")).decode("utf-8", "surrogateescape"))
