"""Numbers in DWARF's encodings, out of bytes that may end too early or mean nothing."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from fpm.stacks.reading.memory import Read

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


STEPS_MAX = 256
STACK_MAX = 64

_CONSTANTS = {0x08: "B", 0x09: "b", 0x0A: "H", 0x0B: "h", 0x0C: "I", 0x0D: "i", 0x0E: "Q", 0x0F: "q"}


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


_TWO: dict[int, Callable[[int, int], int]] = {
    0x1A: lambda a, b: a & b,
    0x1C: lambda a, b: a - b,
    0x1E: lambda a, b: a * b,
    0x21: lambda a, b: a | b,
    0x22: lambda a, b: a + b,
    0x24: lambda a, b: a << min(b, 64),
    0x25: lambda a, b: a >> min(b, 64),
    0x27: lambda a, b: a ^ b,
    0x29: lambda a, b: int(a == b),
    0x2A: lambda a, b: int(_signed(a) >= _signed(b)),
    0x2B: lambda a, b: int(_signed(a) > _signed(b)),
    0x2C: lambda a, b: int(_signed(a) <= _signed(b)),
    0x2D: lambda a, b: int(_signed(a) < _signed(b)),
    0x2E: lambda a, b: int(a != b),
}


def evaluate(expression: bytes, registers: Mapping[int, int], read: Read, *initial: int) -> int:
    """The value of an expression.

    Args:
        initial: what lies on its stack at the beginning.

    Raises:
        NoSense: it is none, or uses what is not known.
    """
    code, stack = Cursor(expression), list(initial)
    for _ in range(STEPS_MAX):
        if code.at_end:
            return _pop(stack)
        _step(code, code.byte(), stack, registers, read)
        if len(stack) > STACK_MAX:
            raise NoSense("an expression that piles up")
    raise NoSense("an expression without an end")


def _step(code: Cursor, operation: int, stack: list[int], registers: Mapping[int, int], read: Read) -> None:
    if 0x30 <= operation <= 0x4F:  # DW_OP_lit0 ..
        stack.append(operation - 0x30)
    elif 0x70 <= operation <= 0x8F:  # DW_OP_breg0 ..
        stack.append(_register(registers, operation - 0x70) + code.sleb() & MASK)
    elif operation == 0x92:  # DW_OP_bregx
        stack.append(_register(registers, code.uleb()) + code.sleb() & MASK)
    elif operation in _CONSTANTS:
        stack.append(code.number(_CONSTANTS[operation]) & MASK)
    elif operation == 0x10:  # DW_OP_constu
        stack.append(code.uleb() & MASK)
    elif operation == 0x11:  # DW_OP_consts
        stack.append(code.sleb() & MASK)
    elif operation == 0x06:  # DW_OP_deref
        stack.append(Cursor(read(_pop(stack), 8)).number("Q"))
    elif operation == 0x12:  # DW_OP_dup
        stack.append(_top(stack))
    elif operation == 0x13:  # DW_OP_drop
        _pop(stack)
    elif operation == 0x23:  # DW_OP_plus_uconst
        stack.append(_pop(stack) + code.uleb() & MASK)
    elif operation in _TWO:
        second, first = _pop(stack), _pop(stack)
        stack.append(_TWO[operation](first, second) & MASK)
    elif operation != 0x96:  # DW_OP_nop
        raise NoSense(f"operation {operation:#x}")


def _register(registers: Mapping[int, int], number: int) -> int:
    if number not in registers:
        raise NoSense(f"register {number} is not known")
    return registers[number]


def _pop(stack: list[int]) -> int:
    if not stack:
        raise NoSense("an expression without a value")
    return stack.pop()


def _top(stack: list[int]) -> int:
    if not stack:
        raise NoSense("an expression without a value")
    return stack[-1]
