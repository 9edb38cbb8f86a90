"""Which frames of a stack tell something: the application's, and where it went into a library."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fpm.stacks.trace import Frame

_OURS = re.compile(r"/fpm/(?:(?:launcher|template|worker|wsgi|fastcgi)/(?:\w+/)*\w+|library)\.py$|^<pyfpm boot>$")
_INSTALLED = re.compile(r"/(?:site|dist)-packages/(([^/]+)[^\n]*)")
_STANDARD = re.compile(r"/lib(?:64)?/python3[^/]*/(([^/]+)[^\n]*)|^(<frozen ([^>.]+)[^>]*>)$")
_COMMAND = "<string>"
"""The file of `python -c`, by which a template begins."""
NAMES_MAX = 4
"""Libraries that are named where frames are left out."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames that are left out."""

    count: int
    names: tuple[str, ...]
    """The libraries that they are of."""


def without_ours(frames: Sequence[Frame]) -> Sequence[Frame]:
    """A stack without the worker's own frames, with which every request begins."""
    end = len(frames)
    if end > 1 and frames[-1].file == _COMMAND and is_ours(frames[-2]):
        end -= 1
    while end > 0 and is_ours(frames[end - 1]):
        end -= 1
    return frames[:end] if end else frames


def is_ours(frame: Frame) -> bool:
    """Whether a frame is of pyfpm's own code in a worker."""
    return _OURS.search(frame.file) is not None


def library_of(frame: Frame) -> str:
    """The package of a library's frame, "" for one of the application."""
    if frame.native:
        return frame.file.rpartition("/")[2].partition(".so")[0] or "C"
    if is_ours(frame):
        return "fpm"
    found = _INSTALLED.search(frame.file) or _STANDARD.search(frame.file)
    return (found[2] or found[4]).removesuffix(".py") if found else ""


def short_file(frame: Frame) -> str:
    """The file without the directory that all libraries are in."""
    if frame.native:
        return frame.file.rpartition("/")[2]
    found = _INSTALLED.search(frame.file) or _STANDARD.search(frame.file)
    return (found[1] or found[3]) if found else frame.file


def telling(frames: Sequence[Frame]) -> list[Frame | Gap]:
    """The newest frame, those of the application, and the call by which it went into a library.

    Everything, if none is of the application.
    """
    is_own = [not library_of(frame) for frame in frames]
    if not any(is_own):
        return list(frames)
    kept: list[Frame | Gap] = []
    left_out: list[Frame] = []
    for at, frame in enumerate(frames):
        calls_library = at + 1 < len(frames) and is_own[at + 1]
        if at == 0 or is_own[at] or calls_library:
            _close_gap(kept, left_out)
            kept.append(frame)
        else:
            left_out.append(frame)
    _close_gap(kept, left_out)
    return kept


def _close_gap(kept: list[Frame | Gap], left_out: list[Frame]) -> None:
    if len(left_out) == 1:
        kept.append(left_out[0])
    elif left_out:
        names = dict.fromkeys(library_of(frame) for frame in left_out)
        kept.append(Gap(len(left_out), tuple(names)[:NAMES_MAX]))
    left_out.clear()
