"""Entries out of a slow log: of either form, or both in one file, or PHP-FPM's own.

A file may be torn where it was rotated, where a disk was full or a machine went down, and may hold any rubbish. What is
whole is read; nothing else is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from fpm.log.times import MONTHS
from fpm.stacks.text.entry import Entry
from fpm.stacks.text.entry_parser import OWN, EntryBuilder
from fpm.stacks.text.format import FAILED, NATIVE, UNKNOWN, unescape_text
from fpm.stacks.text.read_json import read_object
from fpm.stacks.trace import Frame, Trace

LINE_MAX = 8 * 1024 * 1024
"""Bytes; what is longer is no line of ours and is left out."""


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Split bytes into lines without newlines; the last line may lack its newline."""
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


CACHE_MAX = 20_000
"""Different frames that are kept: a log repeats a few of them for ever."""
CACHED_MAX = 500
"""Bytes of one of them."""
TEXT_MAX = 100_000
"""Bytes of a line of the text form, with everything in it spelled as `\\xNN`."""
HEAD_MAX = 1000
"""Bytes at the end of a line in which a head is looked for."""

_HEAD = re.compile(rb"\[(\d{1,2}-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d)\]  ?\[pool ([^\]]{0,900})\] pid (\d{1,10})$")
_END = re.compile(
    r"-- end (\d{1,2}-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d), pid (\d{1,10}), "
    r"(complete|cut off) after (\d{1,12}\.\d{6}) s, pool ([^,]{0,900}), ([^ ]*) (.*)"
)
_THREAD = re.compile(r"-- thread (\d{1,10})(?:, (.*))?", re.DOTALL)


def read_entries(chunks: Iterable[bytes]) -> Iterator[Entry]:
    """Read the entries in the order of the file.

    Addresses of frames are left out, and times of the text form are whole seconds of local time.

    Args:
        chunks: the file's bytes in pieces of any size.
    """
    reader = _Reader()
    for line in split_lines(chunks):
        yield from reader.take(line)
    yield from reader.finish()


class _Reader:
    """Reads one file. An entry of the text form has ended when the next begins."""

    def __init__(self) -> None:
        self._builder: EntryBuilder | None = None
        self._frames: dict[bytes, Frame | None] = {}
        self._second: tuple[bytes, float | None] = (b"", None)

    def take(self, line: bytes) -> Sequence[Entry]:
        """Take a line; returns the entries that have ended with it."""
        builder = self._builder
        if line.startswith(b"-- end ") and len(line) < TEXT_MAX:
            end = read_end(line.decode("utf-8", "surrogateescape"))
            return () if end is None else (*self.finish(), end)
        if line.startswith(b"[0x"):
            frame = self._frame(line)
            if frame is not None:
                if builder is not None:
                    builder.add_frame(frame)
                return ()
        elif not line or (builder is not None and len(line) < TEXT_MAX and _take_own(builder, line)):
            return ()
        return self._take_beginning(line)

    def finish(self) -> Sequence[Entry]:
        """Return the last entry."""
        builder, self._builder = self._builder, None
        return () if builder is None else (builder.finish(),)

    def _take_beginning(self, line: bytes) -> Sequence[Entry]:
        """A head, an object, or rubbish; a torn line may have the next entry's beginning at its end."""
        head = _HEAD.search(line[-HEAD_MAX:])
        if head is not None:
            time = self._time(head[1])
            if time is None:
                return ()
            ended = self.finish()
            self._builder = EntryBuilder(time, unescape_text(head[2].decode("utf-8", "surrogateescape")), int(head[3]))
            return ended
        entry = read_object(line) if line.startswith(b"{") else None
        start = line.rfind(b'{"time"')
        if entry is None and start > 0:
            entry = read_object(line[start:])
        return () if entry is None else (*self.finish(), entry)

    def _frame(self, line: bytes) -> Frame | None:
        end = line.find(b"] ", 3, 24)
        if end < 0 or len(line) > TEXT_MAX:
            return None
        tail = line[end + 2 :]
        if tail in self._frames:
            return self._frames[tail]
        frame = read_frame(tail.decode("utf-8", "surrogateescape"))
        if len(tail) <= CACHED_MAX:
            if len(self._frames) >= CACHE_MAX:
                self._frames.clear()
            self._frames[tail] = frame
        return frame

    def _time(self, text: bytes) -> float | None:
        if self._second[0] != text:
            self._second = (text, read_time(text.decode("ascii")))
        return self._second[1]


def read_end(line: str) -> Entry | None:
    """Read the line of the text form that tells of the end of a request; None if it is none."""
    found = _END.fullmatch(line)
    time = read_time(found[1]) if found is not None else None
    if found is None or time is None:
        return None
    pool, method, uri = map(unescape_text, (found[5], found[6], found[7]))
    pid = int(found[2])
    return Entry(time, pool, pid, "end", "", method, uri, float(found[4]), found[3], 1, Trace(pid, ""))


def read_time(text: str) -> float | None:
    """Read a time such as 29-Nov-2026 14:03:11, local; returns epoch seconds, None if there is no such day."""
    day, month, year, *clock = re.split("[- :]", text)
    try:
        hour, minute, second = map(int, clock)
        return datetime(int(year), MONTHS.index(month) + 1, int(day), hour, minute, second).timestamp()
    except (ValueError, OverflowError, OSError):  # no such day, or one that mktime(3) cannot reach
        return None


def read_frame(text: str) -> Frame | None:
    """Read a frame of the text form, without its address; None if it is none."""
    function, ends, place = text.partition("() ")
    file, colon, line = place.rpartition(":")
    if not ends or not colon or len(line) > 9 or not (line.isascii() and line.isdecimal()):
        return None
    is_native = function.startswith(NATIVE)
    if is_native:
        function = function.removeprefix(NATIVE)
    if place == UNKNOWN:
        file = ""
    return Frame(unescape_text(function), unescape_text(file), int(line), 0, is_native)


def _take_own(builder: EntryBuilder, line: bytes) -> bool:
    """Whether it is one of our own lines, or PHP-FPM's script_filename, and nothing begins at its end."""
    if b"[pool " in line or b'{"time"' in line:
        return False
    text = line.decode("utf-8", "surrogateescape")
    if text.startswith("    "):
        name, _, value = text[4:].partition(" = ")
        builder.add_value(unescape_text(name), unescape_text(value))
    elif text.startswith("-- thread "):
        thread = _THREAD.fullmatch(text)
        if thread is None:
            return False
        builder.add_thread(int(thread[1]), unescape_text(thread[2] or ""))
    elif text.startswith("... "):
        builder.add_note(unescape_text(text[4:]))
    elif text.startswith(FAILED):
        builder.error = unescape_text(text.removeprefix(FAILED).removeprefix(": ")) or "dump failed"
    else:
        name, equals, value = text.partition(" = ")
        if not equals or name not in OWN:
            return False
        builder.add_own(name, value)
    return True
