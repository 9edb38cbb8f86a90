"""What can wait until the process runs again: lines out of location tables, and frames as everybody sees them."""

from __future__ import annotations

from fpm.stacks.reading.lines import line_of
from fpm.stacks.reading.walk import RawThread
from fpm.stacks.trace import Frame


def resolve(thread: RawThread) -> tuple[Frame, ...]:
    """The frames of a thread, the newest first."""
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
