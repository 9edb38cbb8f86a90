"""How much of a stack has room in an entry. What a worker shows may be of any size, and the master waits for nobody."""

from __future__ import annotations

from collections.abc import Sequence

from fpm.stacks.text.escape import NAME_MAX, TEXT_MAX, VALUE_MAX
from fpm.stacks.trace import Frame, ThreadStack

ENTRY_MAX = 2 * 1024 * 1024
"""Bytes of an entry, by an estimate that is too high rather than too low."""
_FRAME, _THREAD, _VALUE = 95, 100, 15
"""Bytes around the texts, of the longer form."""
_SPELLED = 12
"""A character may become a pair of surrogates, each written with six."""


def fit(threads: Sequence[ThreadStack], depth: int, most: int) -> list[ThreadStack]:
    """As many threads as there is room for, each with `depth` frames at most; the note of a shorter one says so.

    Args:
        most: threads.
    """
    kept: list[ThreadStack] = []
    left = ENTRY_MAX
    for thread in threads[:most]:
        left -= _THREAD + _size(thread.doing, TEXT_MAX) + _size(thread.note, TEXT_MAX)
        if left < 0:
            break
        count = 0
        for frame in thread.frames[:depth]:
            left -= _frame_size(frame)
            if left < 0:
                break
            count += 1
        kept.append(thread if count == len(thread.frames) else _shorten(thread, count))
    return kept


def _shorten(thread: ThreadStack, count: int) -> ThreadStack:
    note = f"{len(thread.frames) - count} more frames" + (f"; {thread.note}" if thread.note else "")
    return ThreadStack(thread.tid, thread.main, thread.frames[:count], thread.doing, note)


def _frame_size(frame: Frame) -> int:
    values = sum(_VALUE + _size(name, VALUE_MAX) + _size(value, VALUE_MAX) for name, value in frame.values)
    return _FRAME + _size(frame.function, NAME_MAX) + _size(frame.file, TEXT_MAX) + values


def _size(text: str, limit: int) -> int:
    is_plain = text.isascii() and text.isprintable() and "\\" not in text
    return min(len(text), limit) * (_SPELLED if not is_plain else 2 if '"' in text else 1)
