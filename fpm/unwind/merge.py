"""Native calls among Python's: each run of the interpreter's loop stands for the Python frames that it executes."""

from __future__ import annotations

from collections.abc import Sequence

from fpm.stack.trace import Frame
from fpm.unwind.unwind import NativeCall

LOOPS = frozenset({"_PyEval_EvalFrameDefault"})
"""The function of CPython that executes frames (Python/ceval.c)."""


def merge(frames: Sequence[Frame], entries: Sequence[bool], calls: Sequence[NativeCall]) -> tuple[Frame, ...]:
    """One list, the newest first.

    Args:
        frames: Python's, the newest first.
        entries: for each of them, whether C called it: the loop that executes it began with it.
        calls: native ones, the newest first.

    The interpreter's own functions are left out, but for those that run now. If the two stacks do not fit together,
    the native calls that run now stand before Python's frames and the others are left out.
    """
    loops = [index for index, call in enumerate(calls) if call.name in LOOPS]
    interpreter = calls[loops[0]].path if loops else ""
    newest = [native_frame(call) for call in calls[: loops[0] if loops else len(calls)]]
    if len(loops) != sum(entries) or not loops:
        return (*newest, *frames) if loops or not frames else tuple(frames)
    merged, position = newest, 0
    for index, after in zip(loops, [*loops[1:], len(calls)], strict=True):
        end = position + 1
        while end < len(frames) and not entries[end - 1]:
            end += 1
        merged += frames[position:end]
        position = end
        between = calls[index + 1 : after] if after < len(calls) else ()
        merged += [native_frame(call) for call in between if call.path != interpreter]
    return (*merged, *frames[position:])


def native_frame(call: NativeCall) -> Frame:
    """As a frame; a function without a name is told by its place in the library."""
    library = call.path.rpartition("/")[2]
    name = call.name or f"{library}+{call.offset:#x}"
    return Frame(function=name, file=call.path, line=0, address=call.pc, native=True)
