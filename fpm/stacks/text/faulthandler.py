"""What CPython's faulthandler writes, as frames. It comes from a process that nobody trusts, so it is parsed strictly.

The form of one thread, 3.11 to 3.14 (Python/traceback.c, _Py_DumpTraceback and _Py_DumpTracebackThreads):

    Thread 0x00007f20a1b2c740 [name] (most recent call first):
      File "/srv/app/views.py", line 12 in index
      ...

"Stack" stands for "Thread 0x..." where only one thread is shown, "Current thread" where it is the one that writes.
Texts are cut at 500 characters and escaped with backslashes; after 100 frames comes "...".
"""

from __future__ import annotations

import re

from fpm.frozen import dataclass
from fpm.stacks.trace import Frame

HEADER = re.compile(
    rb"(?:(Stack)|(Current thread|Thread) 0x([0-9a-f]{1,16})(?: \[([^\n\]]{0,64})\])?) \(most recent call first\):\n"
)
ALONE = b"Stack (most recent call first):\n"
FILE, NO_FILE, LINE = b'  File "', b"  File ???, line ", b'", line '
PLACE = re.compile(rb"(\d{1,10}|\?\?\?) in (.+)")
LINE_MAX = 16384
"""Bytes of a line; texts are cut at 500 characters, of up to 10 bytes each."""
ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")
FRAMES_MAX = 101
"""As many as faulthandler writes (MAX_FRAME_DEPTH, and one more in some versions)."""
THREADS_MAX = 512
REMARKS = {
    b"  ...": "faulthandler shows no more than 100 frames",
    b"  <no Python frame>": "no Python code runs in this thread",
    b"  Garbage-collecting": "",
    b"  <invalid frame>": "the rest of the stack could not be read",
    b"  <freed frame>": "the rest of the stack could not be read",
    b"  <truncated>": "the rest of the stack could not be read",
}


@dataclass(frozen=True, slots=True)
class DumpedThread:
    """One thread of a dump."""

    ident: int
    """As Python numbers it (threading.get_ident); 0 where the dump does not say."""
    current: bool
    """It has written the dump."""
    name: str
    frames: tuple[Frame, ...]
    """The newest call first."""
    note: str
    """Why the frames end early; "" if they do not."""


def parse_dump(data: bytes) -> tuple[DumpedThread, ...]:
    """Read the threads of a dump, in its order, THREADS_MAX at most; what is no part of a dump is skipped.

    Args:
        data: any bytes. The last thread may be cut, see `is_repeated`.
    """
    headers = list(HEADER.finditer(data))[:THREADS_MAX]
    ends = [*(header.start() for header in headers), len(data)][1:]
    return tuple(_thread(header, data[header.end() : end]) for header, end in zip(headers, ends, strict=False))


def is_repeated(data: bytes) -> bool:
    """Decide whether a second dump of a single thread has begun: then the first is complete."""
    return data.count(ALONE) > 1


def _thread(header: re.Match[bytes], body: bytes) -> DumpedThread:
    frames: list[Frame] = []
    note = ""
    for line in filter(None, body.split(b"\n")):
        frame = _frame(line) if len(line) <= LINE_MAX and len(frames) < FRAMES_MAX else None
        if frame is not None:
            frames.append(frame)
        elif line in REMARKS:
            note = REMARKS[line] or note
        else:
            note = "the rest of the stack could not be read"
            break
    alone, current, ident, name = header.groups()
    return DumpedThread(
        ident=int(ident, 16) if ident else 0,
        current=bool(alone) or current == b"Current thread",
        name=_text(name or b""),
        frames=tuple(frames),
        note=note,
    )


def _frame(line: bytes) -> Frame | None:
    """A file name's quotation marks are not escaped, so the last one before `, line` ends it. In linear time."""
    if line.startswith(NO_FILE):
        file, rest = b"", line[len(NO_FILE) :]
    elif line.startswith(FILE):
        file, _, rest = line[len(FILE) :].rpartition(LINE)
    else:
        return None
    found = PLACE.fullmatch(rest)
    if found is None:
        return None
    number, function = found.groups()
    return Frame(_text(function), _text(file), int(number) if number.isdigit() else 0)


def _text(data: bytes) -> str:
    """Undo the escapes of _Py_DumpASCII where they stand for what ASCII cannot say. A backslash of the text itself is
    written as it is, so `\\x41` may have been either."""

    def character(found: re.Match[str]) -> str:
        code = int(next(group for group in found.groups() if group), 16)
        return chr(code) if 0x80 <= code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else found[0]

    return ESCAPE.sub(character, data.decode("ascii", "replace"))
