"""An entry of the text form with the frames of libraries left out, for people who look at a terminal. Pure."""

from __future__ import annotations

import re

from fpm.stacks.text.group import Gap, relevant_frames
from fpm.stacks.text.read import read_frame
from fpm.stacks.trace import Frame

_FRAME = re.compile(r"\[0x[0-9a-f]{1,16}\] (.*)")
_VALUE = "    "
"""Before a local variable of the frame above."""


def fold_entry(text: str) -> str:
    """Return the lines of an entry, with `... 14 frames of django` where frames of libraries follow each other.

    The newest frame of a thread stays, and the call by which the application went into a library, as in `pyfpm slow`.
    """
    kept: list[str] = []
    frames: list[tuple[Frame, list[str]]] = []
    for line in text.split("\n"):
        found = _FRAME.fullmatch(line)
        frame = read_frame(found[1]) if found else None
        if frame is not None:
            frames.append((frame, [line]))
        elif frames and line.startswith(_VALUE):
            frames[-1][1].append(line)
        else:
            kept += [*_fold(frames), line]
            frames.clear()
    return "\n".join([*kept, *_fold(frames)])


def _fold(frames: list[tuple[Frame, list[str]]]) -> list[str]:
    lines = {id(frame): own for frame, own in frames}
    folded: list[str] = []
    for one in relevant_frames([frame for frame, _ in frames]):
        if isinstance(one, Gap):
            folded.append(f"... {one.count} frames of {', '.join(one.names)}")
        else:
            folded += lines[id(one)]
    return folded
