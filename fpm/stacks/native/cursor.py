"""Numbers in DWARF's encodings, out of bytes that may end too early or mean nothing."""

from __future__ import annotations

import struct

LEB_MAX = 10
"""Bytes of a number of 64 bits."""
MASK = (1 << 64) - 1

# How a pointer is written (Linux Standard Base 5.0, Core, section 10.5.1).
ABSPTR, UDATA2, UDATA4, UDATA8, SDATA2, SDATA4, SDATA8 = 0x00, 0x02, 0x03, 0x04, 0x0A, 0x0B, 0x0C
PCREL, DATAREL, INDIRECT, OMIT = 0x10, 0x30, 0x80, 0xFF
_FORMATS = {ABSPTR: "Q", UDATA2: "H", UDATA4: "I", UDATA8: "Q", SDATA2: "h", SDATA4: "i", SDATA8: "q"}


class NoSense(Exception):
    """The bytes are not what they should be."""


class Cursor:
    """Reads numbers one after the other.

    Raises (every method):
        NoSense: there are too few bytes, or the encoding is not known.
    """

    def __init__(self, data: bytes, address: int = 0) -> None:
        """`address` is where the first byte lies in the process."""
        self.data = data
        self.position = 0
        self._address = address

    @property
    def at_end(self) -> bool:
        """Has everything been read?"""
        return self.position >= len(self.data)

    def number(self, format_: str) -> int:
        """A number as struct(3) names it, little-endian."""
        try:
            value: int = struct.unpack_from("<" + format_, self.data, self.position)[0]
        except struct.error:
            raise NoSense("too few bytes") from None
        self.position += struct.calcsize("<" + format_)
        return value

    def byte(self) -> int:
        """One byte."""
        return self.number("B")

    def uleb(self) -> int:
        """An unsigned LEB128 number (DWARF 5, section 7.6)."""
        value = 0
        for index in range(LEB_MAX):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * index)
            if not byte & 0x80:
                return value
        raise NoSense("a number without an end")

    def sleb(self) -> int:
        """A signed LEB128 number."""
        begin = self.position
        value = self.uleb()
        bits = 7 * (self.position - begin)
        return value - (1 << bits) if value >> (bits - 1) & 1 else value

    def block(self) -> bytes:
        """Bytes with their count before them."""
        size = self.uleb()
        if size > len(self.data) - self.position:
            raise NoSense("a block beyond the end")
        data = self.data[self.position : self.position + size]
        self.position += size
        return data

    def text(self) -> bytes:
        """Bytes up to a NUL."""
        end = self.data.find(b"\0", self.position)
        if end < 0:
            raise NoSense("a text without an end")
        data, self.position = self.data[self.position : end], end + 1
        return data

    def pointer(self, encoding: int, base: int = 0) -> int:
        """An address in one of the encodings; `base` is what DATAREL counts from."""
        where = self._address + self.position
        format_ = _FORMATS.get(encoding & 0x0F)
        if format_ is None or encoding & INDIRECT:
            raise NoSense(f"pointer encoding {encoding:#x}")
        value = self.number(format_)
        if encoding & 0x70 == PCREL:
            value += where
        elif encoding & 0x70 == DATAREL:
            value += base
        elif encoding & 0x70:
            raise NoSense(f"pointer encoding {encoding:#x}")
        return value & MASK
