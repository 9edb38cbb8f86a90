"""Lines of the error log, of access logs and of slow logs as entries with a time, for `pyfpm logs`. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from fpm.frozen import dataclass
from fpm.log.lines import INDENT, Level, parse_level
from fpm.log.times import MONTHS, local_time
from fpm.stacks.text.fold import fold_entry
from fpm.stacks.text.read import read_time

Kind = Literal["error", "access", "slow"]

_ERROR = re.compile(
    r"\[(\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d)(?:\.\d{1,6})?\] ([A-Z]+): (?:pid \d+: )?(?:\[pool ([^\]]+)\] )?"
)
_SLOW = re.compile(r"\[(\d{1,2}-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d)\]  ?\[pool ([^\]]+)\] pid \d+$")
_SLOW_END = re.compile(r"-- end (\d{1,2}-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d), pid \d+, [^,]+, pool ([^,]+), ")
_ACCESS = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d{4})")
LINES_MAX = 50_000
"""Lines of one entry; what has more was not written by us."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry.

    Attributes:
        time: epoch seconds; that of the entry before if it has none.
        pools: of which it is; empty: of the daemon.
        text: its lines as they are in the file.
    """

    time: float
    kind: Kind
    pools: tuple[str, ...]
    level: Level
    text: str

    @property
    def label(self) -> str:
        """Return the words before each of its lines."""
        return f"{','.join(self.pools)} {self.kind}".strip()

    def lines(self, *, full: bool) -> list[str]:
        """Return the lines to be shown; `full` shows every frame of a stack."""
        is_text = self.kind == "slow" and not self.text.startswith("{")
        return (fold_entry(self.text) if is_text and not full else self.text).split("\n")

    def as_object(self) -> dict[str, Any]:
        """Return it for a program; a line of JSON is the value of `entry`."""
        value: dict[str, Any] = {
            "time": local_time(self.time).isoformat(timespec="milliseconds"),
            "log": self.kind,
            "pools": list(self.pools),
            "level": self.level.name.lower(),
        }
        parsed = _as_json(self.text)
        return {**value, "entry": parsed} if parsed is not None else {**value, "text": self.text}


class EntryReader:
    """Makes entries of the lines of one file, in their order.

    Args:
        pools: those that log to this file.
        time: epoch seconds for what comes before the first time in the file.
    """

    def __init__(self, kind: Kind, pools: tuple[str, ...], time: float) -> None:
        self._kind = kind
        self._pools = pools
        self._time = time
        self._open: LogEntry | None = None
        self._more: list[str] = []

    def take(self, lines: Iterable[str], *, is_torn: bool = False) -> Iterator[LogEntry]:
        """Yield the entries of these lines.

        Args:
            is_torn: the first lines may be the rest of an entry, and are left out.
        """
        for line in lines:
            entry = self._begin(line)
            if entry is not None and not self._continues(entry):
                yield from self.finish()
                self._open = entry
            elif self._open is not None and len(self._more) < LINES_MAX:
                self._more += [line] if line or self._kind == "error" else []
            elif line and not is_torn:
                self._open = LogEntry(self._time, self._kind, self._pools, Level.NOTICE, line)

    def finish(self) -> Iterator[LogEntry]:
        """Yield the last entry: nothing more of it comes."""
        if self._open is not None:
            yield replace(self._open, text="\n".join([self._open.text, *self._more]))
            self._open = None
        self._more.clear()

    def _continues(self, entry: LogEntry) -> bool:
        """Tell whether it is another line of the open entry: each line of a traceback has a head of its own."""
        former, head = self._open, _ERROR.match(entry.text) if self._kind == "error" else None
        if former is None or head is None or not entry.text[head.end() :].startswith(INDENT):
            return False
        return (former.level, former.pools) == (entry.level, entry.pools)

    def _begin(self, line: str) -> LogEntry | None:
        parsed = _as_json(line)
        if parsed is not None:
            return self._of_object(parsed, line)
        if self._kind == "access":
            return self._entry(_access_time(line), self._pools, Level.NOTICE, line) if line else None
        found = _ERROR.match(line) if self._kind == "error" else _SLOW.match(line) or _SLOW_END.match(line)
        if found is None:
            return None
        if self._kind == "slow":
            return self._entry(read_time(found[1]), (found[2],), Level.WARNING, line)
        return self._entry(read_time(found[1]), (found[3],) if found[3] else (), parse_level(found[2]), line)

    def _of_object(self, parsed: dict[str, Any], line: str) -> LogEntry:
        pool = parsed.get("pool")
        pools = (pool,) if isinstance(pool, str) and pool else () if self._kind == "error" else self._pools
        level = {"access": Level.NOTICE, "slow": Level.WARNING}.get(self._kind)
        return self._entry(
            _iso_time(parsed.get("time")), pools, level or parse_level(str(parsed.get("level", "notice"))), line
        )

    def _entry(self, time: float | None, pools: tuple[str, ...], level: Level, line: str) -> LogEntry:
        self._time = self._time if time is None else time
        return LogEntry(self._time, self._kind, pools, level, line)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are shown; no pools: all. `since` is epoch seconds."""

    pools: Collection[str] = ()
    level: Level = Level.DEBUG
    since: float = 0.0

    def has(self, entry: LogEntry) -> bool:
        """Tell whether an entry is shown; access logs count as NOTICE, slow logs as WARNING."""
        is_of_pool = not self.pools or any(name in self.pools for name in entry.pools)
        return is_of_pool and entry.level >= self.level and entry.time >= self.since


def _as_json(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _iso_time(value: object) -> float | None:
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _access_time(line: str) -> float | None:
    found = _ACCESS.search(line)
    if found is None:
        return None
    day, month, year, clock, zone = found.groups()
    number = MONTHS.index(month) + 1 if month in MONTHS else 0
    return _iso_time(f"{year}-{number:02d}-{day}T{clock}{zone}")
