"""What Python prints of an exception, read: its type, its message, and the calls that led to it. Pure.

The text comes from a process that nobody trusts, and may be cut: what is no part of a traceback is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fpm.frozen import dataclass
from fpm.stacks.text.group import library_of, relevant_frames
from fpm.stacks.trace import Frame

HEADER = "Traceback (most recent call last):"
NEWEST_FIRST = "(most recent call first):"
"""In a dump of faulthandler."""
FRAMES_MAX = 400
"""Calls that are read."""
CALLS_MAX = 12
"""Calls that are shown."""
CALL_MAX = 200
"""Characters of each."""
_FRAME = re.compile(r' *File "(.*)", line (\d{1,10})(?:,? in (.*))?')
_GROUP = "  | "
"""Stands before each line of an exception group."""
_RAISED = re.compile(r"([^\W\d][\w.<>]*)(?:: (.*))?")


@dataclass(frozen=True, slots=True)
class Raised:
    """One exception."""

    kind: str
    """Its type, as in "KeyError" or "shop.errors.NoStock"."""
    message: str
    """Its first line; "" if there is none."""
    frames: tuple[Frame, ...]
    """The newest call first."""


def read_exception(text: str) -> Raised | None:
    """Read the last exception of a text, which is the one that was not caught; None if there is none."""
    lines = _body(text)
    end = next((at for at, line in enumerate(lines) if line[:1].strip() and _RAISED.fullmatch(line)), None)
    found = _RAISED.fullmatch(lines[end]) if end is not None else None
    return Raised(found[1], found[2] or "", _frames(lines[:end])) if found is not None else None


def _body(text: str) -> list[str]:
    """Return the lines after the last header; of an exception group those of the group itself."""
    _, header, group = text.partition(f"Exception Group {HEADER}")
    if header:
        return [line.removeprefix(_GROUP) for line in group.splitlines()]
    _, header, body = text.rpartition(HEADER)
    return body.splitlines() if header else []


def read_frames(text: str) -> tuple[Frame, ...]:
    """Read the calls of a traceback, or of a dump of faulthandler; the newest first, none if there are none."""
    before, header, body = text.partition(NEWEST_FIRST)
    if header and HEADER not in before:
        lines = body.splitlines()
        end = next((at for at, line in enumerate(lines) if line.endswith(NEWEST_FIRST)), len(lines))
        return _frames(lines[:end])[::-1]
    # A SyntaxError in the first file has neither calls nor a header, only the line that cannot be read.
    return _frames(_body(text) or (text.splitlines() if _FRAME.match(text) else ()))


def own_first(frames: Sequence[Frame]) -> Frame | None:
    """Return the newest call of the application's own code; of any code if there is none."""
    return next((one for one in frames if not library_of(one)), frames[0] if frames else None)


def show_calls(frames: Sequence[Frame]) -> tuple[str, ...]:
    """Return the calls in a line each, without most of those within libraries."""
    kept = [one for one in relevant_frames(frames) if isinstance(one, Frame)]
    return tuple(dict.fromkeys(map(show_call, kept)))[:CALLS_MAX]


def show_call(frame: Frame) -> str:
    """Return one call as in "search (/srv/shop/views.py:41)"."""
    return f"{frame.function or '<module>'} ({frame.file}:{frame.line})"[:CALL_MAX]


def _frames(lines: Sequence[str]) -> tuple[Frame, ...]:
    found = [match for match in map(_FRAME.fullmatch, lines[-FRAMES_MAX * 3 :]) if match]
    return tuple(Frame(match[3] or "", match[1], int(match[2])) for match in found[: -FRAMES_MAX - 1 : -1])
