"""Native calls among Python's: each run of the interpreter's loop stands for the Python frames that it executes."""

from __future__ import annotations

from collections.abc import Sequence

from fpm.stacks.native.unwind import NativeCall
from fpm.stacks.trace import Frame

LOOPS = frozenset({"_PyEval_EvalFrameDefault"})
"""The function of CPython that executes frames (Python/ceval.c)."""


def merge(frames: Sequence[Frame], calls: Sequence[NativeCall], *, whole: bool) -> tuple[Frame, ...]:
    """One list, the newest first.

    Args:
        frames: Python's, the newest first; `entry` marks those with which a run of the loop began.
        calls: native ones, the newest first.
        whole: neither of them ends early.

    The interpreter's own functions are left out, but for those that run now. If two whole stacks do not fit together,
    the native calls that run now stand before Python's frames and the others are left out.
    """
    loops = [index for index, call in enumerate(calls) if call.name in LOOPS]
    if not loops:
        return tuple(frames) if frames else tuple(map(native_frame, calls))
    newest = [native_frame(call) for call in calls[: loops[0]]]
    if whole and len(loops) != sum(frame.entry for frame in frames):
        return (*newest, *frames)
    merged, left = newest, list(frames)
    for index, following in zip(loops, [*loops[1:], len(calls)], strict=True):
        run = _run_length(left)
        merged += left[:run]
        del left[:run]
        if left:
            between = calls[index + 1 : following]
            merged += [native_frame(call) for call in between if call.path != calls[loops[0]].path]
    return (*merged, *left)


def _run_length(frames: Sequence[Frame]) -> int:
    """How many of them, from the newest on, one run of the loop executes."""
    entries = (index for index, frame in enumerate(frames) if frame.entry)
    return next(entries, len(frames) - 1) + 1


def native_frame(call: NativeCall) -> Frame:
    """As a frame; a function without a name is told by its place in the library."""
    library = call.path.rpartition("/")[2]
    name = call.name or f"{library}+{call.offset:#x}"
    return Frame(function=name, file=call.path, line=0, address=call.pc, native=True)
