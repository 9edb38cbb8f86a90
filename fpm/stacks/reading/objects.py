"""str, bytes and code objects out of another process's memory: their type is checked before they are believed."""

from __future__ import annotations

import sys
from typing import NamedTuple

from fpm.stacks.layout import Layout
from fpm.stacks.reading.memory import INT, POINTER, WORD, Memory, Record, Unreadable

NAME_LIMIT = 1000
"""Characters of a function's name that are read; "..." stands for the rest."""
PATH_LIMIT = 4096
"""Characters of a file name; PATH_MAX."""
TABLE_LIMIT = 1 << 20
"""Bytes of a location table: a function of some hundred thousand lines."""
UNREADABLE = "???"
"""Stands for the name of a function that could not be read."""
_ENDIAN = "le" if sys.byteorder == "little" else "be"
UCS2, UCS4 = f"utf-16-{_ENDIAN}", f"utf-32-{_ENDIAN}"
"""Encodings of texts in memory. Python reads a codec from a file when it is first used."""


class RawCode(NamedTuple):
    """What is needed of a code object."""

    function: str
    """Qualified."""
    file: str
    first_line: int
    table: bytes
    """Its location table, not yet decoded; b"" if it could not be read."""
    names: int = 0
    """Address of co_localsplusnames."""


class Objects:
    """Reads objects by a layout; texts and code objects are kept by their address."""

    def __init__(self, layout: Layout, memory: Memory) -> None:
        self._layout = layout
        self._memory = memory
        self._bytes_head = Record((layout.object_type, POINTER), (layout.bytes_size, POINTER))
        self._str_head = Record((layout.object_type, POINTER), (layout.str_length, POINTER), (layout.str_state, WORD))
        self._code = Record(
            (layout.object_type, POINTER),
            (layout.code_firstline, INT),
            (layout.code_filename, POINTER),
            (layout.code_qualname, POINTER),
            (layout.code_table, POINTER),
            (layout.code_names, POINTER),
        )
        self._forms = {
            layout.str_ascii: (layout.str_ascii_data, 1, "latin-1"),
            layout.str_latin1: (layout.str_data, 1, "latin-1"),
            layout.str_ucs2: (layout.str_data, 2, UCS2),
            layout.str_ucs4: (layout.str_data, 4, UCS4),
        }
        self._texts: dict[tuple[int, int], str] = {}
        self._codes: dict[int, RawCode] = {}

    def text(self, address: int, limit: int) -> str:
        """Read a str of at most `limit` characters, "..." in place of what is beyond them.

        Raises:
            Unreadable: there is no str.
        """
        known = self._texts.get((address, limit))
        if known is not None:
            return known
        buffer, start = self._memory.view(address, self._str_head.size)
        kind, length, state = self._str_head.take(buffer, start)
        if kind != self._layout.at_str_type:
            raise Unreadable(f"no str at {address:#x}")
        form = self._forms.get(state & self._layout.str_mask)
        if form is None:
            raise Unreadable(f"a str of unknown form at {address:#x}")
        data, width, encoding = form
        raw = self._memory.copy(address + data, min(length, limit) * width)
        text = _decoded(raw, encoding) + ("..." if length > limit else "")
        self._texts[address, limit] = text
        return text

    def bytes(self, address: int, limit: int) -> bytes:
        """Read a bytes object.

        Raises:
            Unreadable: there is none, or it is longer than `limit`.
        """
        buffer, start = self._memory.view(address, self._bytes_head.size)
        kind, length = self._bytes_head.take(buffer, start)
        if kind != self._layout.at_bytes_type:
            raise Unreadable(f"no bytes object at {address:#x}")
        if length > limit:
            raise Unreadable(f"a bytes object of more than {limit} bytes at {address:#x}")
        return self._memory.copy(address + self._layout.bytes_data, length)

    def code(self, address: int) -> RawCode:
        """Read a code object; what cannot be read of its name, file and table is left out.

        Raises:
            Unreadable: there is no code object.
        """
        known = self._codes.get(address)
        if known is not None:
            return known
        buffer, start = self._memory.view(address, self._code.size)
        kind, first_line, file, name, table, names = self._code.take(buffer, start)
        if kind != self._layout.at_code_type:
            raise Unreadable(f"no code object at {address:#x}")
        try:
            raw = self.bytes(table, TABLE_LIMIT)
        except Unreadable:  # then there is no line, but still the name
            raw = b""
        function = self._text_or(name, NAME_LIMIT, UNREADABLE)
        code = RawCode(function, self._text_or(file, PATH_LIMIT, ""), max(first_line, 0), raw, names)
        self._codes[address] = code
        return code

    def _text_or(self, address: int, limit: int, otherwise: str) -> str:
        try:
            return self.text(address, limit)
        except Unreadable:
            return otherwise


def _decoded(raw: bytes, encoding: str) -> str:
    """Characters that no UTF-8 text may have (lone surrogates: bytes of a file name) are written as their number."""
    try:
        text = raw.decode(encoding, "surrogatepass")
    except ValueError:
        return raw.decode(encoding, "replace")
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
