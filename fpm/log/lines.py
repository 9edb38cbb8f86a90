"""Lines of the error log in the form of PHP-FPM's zlog.c, and workers' output cut into such lines. Pure.

Pure.
"""

from __future__ import annotations

import codecs
import re
from enum import IntEnum
from functools import lru_cache

from fpm.log.escape import cut, escape_line, show_stray_bytes
from fpm.log.times import format_log_time

INDENT = "  "
"""Before all lines of an entry but the first."""
LIKE_OURS = r"^(?:\[(?=\d\d-[A-Z][a-z]{2}-\d{4} )|<(?=\d+>))"
"""How an entry begins (`[29-Nov-2026 `), and a priority for journald (`<3>`, sd-daemon(3)); the first character."""
LIKE_OUR_JSON = r"""^(?=[ \t]*\{.*?(?:"level"[ \t]*:|\\u00[0-9A-Fa-f]{2}))[ \t{]"""
"""How an object with the field `level` begins, spelled with escapes or not: entries of log_format = json have it."""
_LIKE_OURS = re.compile(LIKE_OURS)


class Level(IntEnum):
    """Severity of an entry, named as in log_level."""

    DEBUG = 1
    NOTICE = 2
    WARNING = 3
    ERROR = 4
    ALERT = 5


def pool_prefix(name: str) -> str:
    """Return the start of every line about a pool; nothing for "", the whole manager."""
    return f"[pool {name}] " if name else ""


def parse_level(name: str) -> Level:
    """Parse a level in upper or lower case; return ERROR for an unknown name, which may come from a worker."""
    return Level.__members__.get(name.upper(), Level.ERROR)


def format_head(level: Level, now: float | None, debug_pid: int | None = None) -> str:
    """Format `[21-Sep-2025 14:03:11] WARNING: `; with `debug_pid` add microseconds and pid, as log_level = debug does.

    PHP-FPM also writes the C function's name there. Without `now` there is no time: the reader has its own clock.
    """
    if now is None:
        return f"{level.name}: "
    head = f"[{format_log_time(now, microseconds=debug_pid is not None)}] {level.name}: "
    return head if debug_pid is None else f"{head}pid {debug_pid}: "


def format_line(level: Level, text: str, now: float | None, *, limit: int, debug_pid: int | None = None) -> str:
    """Format an entry of one line, without its newline, cut to `limit` bytes and then ending in `...`."""
    return cut(format_head(level, now, debug_pid) + escape_line(text), limit)


def format_lines(
    level: Level, text: str, now: float | None, *, limit: int, prefix: str = "", debug_pid: int | None = None
) -> list[str]:
    """Format text of several lines, such as a traceback, as one entry for each line.

    Every entry has the time, the level and the prefix (the pool's name); those after the first are indented, so that no
    line of an application's can be taken for an entry of the master's. Long lines are wrapped, for a traceback must be
    whole; a text of one line is cut, as PHP-FPM does.
    """
    first, *rest = text.rstrip("\n").split("\n")
    if not rest:
        return [format_line(level, prefix + first, now, limit=limit, debug_pid=debug_pid)]
    head = format_head(level, now, debug_pid) + prefix
    room = max(limit - _size(head) - len(INDENT), 1)
    pieces = [piece for line in [first, *rest] for piece in wrap(line.rstrip("\r"), room)]
    return [f"{head}{INDENT if number else ''}{piece}" for number, piece in enumerate(pieces)]


def guard_bare(line: str) -> str:
    """Return an undecorated line of an application's with another beginning, if it begins as one of ours."""
    return _LIKE_OURS.sub(lambda found: f"\\x{ord(found[0]):02x}", line)


def room_beside(text: str, limit: int, *, debug_pid: int | None = None) -> int:
    """Return how many more bytes fit into an entry of `limit` bytes and level WARNING that has this text."""
    return max(limit - _size(format_head(Level.WARNING, 0.0, debug_pid) + text), 1)


class LineAssembler:
    """Assembles bytes from a worker's pipe into escaped lines of at most `room` bytes.

    The lines depend only on the bytes, not on how they were split in transit. At most one incomplete line of about
    `room` bytes is kept.
    """

    def __init__(self, room: int) -> None:
        self.room = max(room, 1)
        """May be set anew once the worker's pid is known."""
        self._open = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that are now complete; a line longer than `room` is split."""
        *ended, self._open = (self._open + self._decoder.decode(data)).split("\n")
        lines = [piece for line in ended for piece in wrap(line.removesuffix("\r"), self.room)]
        # A last carriage return may turn out to belong to the line's end.
        body = self._open.removesuffix("\r")
        if escaped_size(body) > self.room:
            *full, rest = split_to_fit(body, self.room)
            lines += map(escape_text, full)
            self._open = rest + self._open[len(body) :]
        return lines

    def close(self) -> list[str]:
        """Return the incomplete last line, split if it is too long; [] if there is none."""
        rest = self._open + self._decoder.decode(b"", final=True)
        self._open = ""
        return wrap(rest.removesuffix("\r"), self.room) if rest else []


def wrap(line: str, room: int) -> list[str]:
    """Escape a line and split it into pieces of at most `room` bytes."""
    return [escape_text(piece) for piece in split_to_fit(line, room)]


def split_to_fit(line: str, room: int) -> list[str]:
    """Split a line where its escaped form would exceed `room` bytes; each piece has at least one character."""
    if len(line) * 16 <= room or escaped_size(line) <= room:
        return [line]
    pieces = []
    start = size = 0
    for position, character in enumerate(line):
        width = 1 if " " <= character <= "~" else _width(character)
        if size + width > room and position > start:
            pieces.append(line[start:position])
            start = position
            size = 0
        size += width
    return [*pieces, line[start:]]


@lru_cache(maxsize=1024)
def _width(character: str) -> int:
    return escaped_size(character)


def escape_text(text: str) -> str:
    """Escape text; a byte that was not UTF-8 (a surrogate, PEP 383) becomes its latin-1 character."""
    return text if text.isprintable() else escape_line(show_stray_bytes(text))


def escaped_size(text: str) -> int:
    """Return the size of the escaped text in bytes."""
    return _size(escape_text(text))


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "backslashreplace"))
