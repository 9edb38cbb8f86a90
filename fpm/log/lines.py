"""Lines of the error log in the form of PHP-FPM's zlog.c, and the output of workers cut into such lines.

Pure.
"""

from __future__ import annotations

import codecs
import re
from enum import IntEnum

from fpm.log.escape import cut, escape_line, show_stray_bytes
from fpm.log.times import format_log_time

PIPE_CLOSED = ", pipe is closed"
_POOL_PREFIX = re.compile(r"\[pool [^\]\n]*\] ")


class Level(IntEnum):
    """How serious; the names are log_level's."""

    DEBUG = 1
    NOTICE = 2
    WARNING = 3
    ERROR = 4
    ALERT = 5


def parse_level(name: str) -> Level:
    """The level of a name, whatever its case; ERROR for a name that is none (it may come from a worker)."""
    return Level.__members__.get(name.upper(), Level.ERROR)


def format_head(level: Level, now: float, debug_pid: int | None = None) -> str:
    """`[21-Sep-2025 14:03:11] WARNING: `; with `debug_pid` in the form of log_level = debug: microseconds and pid.

    PHP-FPM also names the C function there; we do not.
    """
    head = f"[{format_log_time(now, microseconds=debug_pid is not None)}] {level.name}: "
    return head if debug_pid is None else f"{head}pid {debug_pid}: "


def format_line(level: Level, text: str, now: float, *, limit: int, debug_pid: int | None = None) -> str:
    """One entry of one line, without its newline, of at most `limit` bytes; one that was longer ends in `...`."""
    return cut(format_head(level, now, debug_pid) + escape_line(text), limit)


def format_lines(level: Level, text: str, now: float, *, limit: int, debug_pid: int | None = None) -> list[str]:
    """A text of several lines, such as a traceback, as one entry for each line.

    Every entry has the time, the level and the pool's name, so that no line of the text can be taken for another's
    entry. Long lines are wrapped, for a traceback must be whole; a text of one line is cut, as PHP-FPM does.
    """
    first, *rest = text.rstrip("\n").split("\n")
    if not rest:
        return [format_line(level, first, now, limit=limit, debug_pid=debug_pid)]
    head = format_head(level, now, debug_pid)
    prefix = _POOL_PREFIX.match(first)
    pool = prefix[0] if prefix else ""
    room = max(limit - _size(head + pool), 1)
    lines = [first[len(pool) :], *rest]
    return [f"{head}{pool}{piece}" for line in lines for piece in wrap(line.rstrip("\r"), room)]


def format_worker_line(pool: str, pid: int, stream: str, text: str, *, closed: bool = False) -> str:
    """The text of the entry for one line that a worker has written; its level is WARNING.

    `stream` is stdout or stderr; `closed` says that the line had no end when the worker went.
    """
    return f'[pool {pool}] child {pid} said into {stream}: "{text}"{PIPE_CLOSED if closed else ""}'


def worker_line_room(pool: str, pid: int, stream: str, limit: int, *, debug_pid: int | None = None) -> int:
    """How many bytes of a worker's line fit into an entry of `limit` bytes: the `room` of its LineAssembler."""
    head = format_head(Level.WARNING, 0.0, debug_pid)
    return max(limit - _size(head + format_worker_line(pool, pid, stream, "")), 1)


class LineAssembler:
    """Bytes from a worker's pipe, as they come, to whole lines of at most `room` bytes, escaped.

    The lines depend on the bytes alone, not on how they were split on their way. At most one open line of about `room`
    bytes is held.
    """

    def __init__(self, room: int) -> None:
        self.room = max(room, 1)
        """May be set anew once the worker's pid is known."""
        self._open = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, data: bytes) -> list[str]:
        """The lines that are complete now; a line longer than `room` comes in several."""
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
        """The line that was left open, in pieces if the end of its bytes has made it too long; [] if there is none."""
        rest = self._open + self._decoder.decode(b"", final=True)
        self._open = ""
        return wrap(rest.removesuffix("\r"), self.room) if rest else []


def wrap(line: str, room: int) -> list[str]:
    """A line, escaped, in pieces of at most `room` bytes."""
    return [escape_text(piece) for piece in split_to_fit(line, room)]


def split_to_fit(line: str, room: int) -> list[str]:
    """Split a line where its escaped form would exceed `room` bytes; a piece has at least one character."""
    if len(line) * 16 <= room or escaped_size(line) <= room:
        return [line]
    pieces = []
    start = size = 0
    for position, character in enumerate(line):
        width = 1 if " " <= character <= "~" else escaped_size(character)
        if size + width > room and position > start:
            pieces.append(line[start:position])
            start = position
            size = 0
        size += width
    return [*pieces, line[start:]]


def escape_text(text: str) -> str:
    """Escaped; a byte that was not UTF-8 (a surrogate, PEP 383) is shown as its latin-1 character."""
    return text if text.isprintable() else escape_line(show_stray_bytes(text))


def escaped_size(text: str) -> int:
    """Bytes of the escaped text."""
    return _size(escape_text(text))


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "backslashreplace"))
