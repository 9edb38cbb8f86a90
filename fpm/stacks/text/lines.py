"""Bytes of a log, as they come, as lines: a file of any size, with any rubbish in it, needs no more memory than one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

LINE_MAX = 8 * 1024 * 1024
"""Bytes; what is longer is no line of ours and is left out."""


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines without their newlines; the last may lack one."""
    rest = b""
    is_too_long = False
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        if not is_too_long:
            rest += first
            is_too_long = len(rest) > LINE_MAX
        if not others:
            continue
        if not is_too_long:
            yield rest
        *whole, rest = others
        yield from whole
        is_too_long = len(rest) > LINE_MAX
    if rest and not is_too_long:
        yield rest
