"""Which line an instruction belongs to: the location table of code objects since Python 3.11.

The format is in CPython's Objects/locations (InternalDocs/code_objects since 3.14).
"""

from __future__ import annotations

from fpm.stacks.reading.walk import RawThread
from fpm.stacks.trace import Frame

NO_LOCATION = 15
LONG = 14
NO_COLUMNS = 13
ONE_LINE = 10
"""10, 11 and 12: none, one or two lines further, and two bytes for the columns."""
BYTES_PER_UNIT = 2


def line_of(table: bytes, first_line: int, offset: int) -> int | None:
    """Find the line of the instruction at `offset`.

    Args:
        table: co_linetable; any bytes at all.
        first_line: co_firstlineno.
        offset: bytes from the first instruction; negative in a frame that has not begun.

    Returns:
        The line; `first_line` before the first instruction, None where the table has none.
    """
    if offset < 0:
        return first_line
    line, end, index, size = first_line, 0, 0, len(table)
    while index < size:
        head = table[index]
        index += 1
        kind = head >> 3 & 15
        end += ((head & 7) + 1) * BYTES_PER_UNIT
        if kind in (LONG, NO_COLUMNS):
            step, index = _signed(table, index)
            line += step
            for _ in range(3 if kind == LONG else 0):
                _, index = _varint(table, index)
        elif kind == NO_LOCATION:
            pass
        elif kind >= ONE_LINE:
            line += kind - ONE_LINE
            index += 2
        else:
            index += 1
        if offset < end:
            return None if kind == NO_LOCATION or line < 0 else line
    return None


def _varint(table: bytes, index: int) -> tuple[int, int]:
    """Read a number: six bits in each byte, the lowest first; bit 6: more follow. At most 32 bits are taken."""
    value = shift = 0
    while index < len(table):
        byte = table[index]
        index += 1
        if shift < 32:
            value |= (byte & 63) << shift
        shift += 6
        if not byte & 64:
            break
    return value & 0xFFFFFFFF, index


def _signed(table: bytes, index: int) -> tuple[int, int]:
    value, index = _varint(table, index)
    return (-(value >> 1) if value & 1 else value >> 1), index


def resolve(thread: RawThread) -> tuple[Frame, ...]:
    """Make the frames of a thread, the newest first."""
    lines: dict[tuple[int, int], int] = {}
    frames = []
    for raw in thread.frames:
        code = raw.code
        key = (id(code), raw.offset)
        line = lines.get(key)
        if line is None:
            # An instruction of the compiler's own has no line, a module's first has line 0; its function has one.
            line = lines[key] = line_of(code.table, code.first_line, raw.offset) or code.first_line
        frames.append(Frame(code.function, code.file, line, raw.address, values=raw.values, entry=raw.entry))
    return tuple(frames)
