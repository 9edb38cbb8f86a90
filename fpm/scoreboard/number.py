"""How a number is kept in the scoreboard, and shown: a row of the tables `PoolNumbers` and `Slot`.

What is read from a scoreboard is untrusted, so a row's code says also which values can be true. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import Field, field, fields
from signal import Signals
from typing import Any

from fpm.frozen import dataclass

COUNT_MAX = 2**53 - 1
"""The largest whole number that every JSON reader keeps exact."""
UINT_MAX = 2**32 - 1
TIME_MAX = 253402300799.0
"""The last second of the year 9999, the last that calendars of the standard library know."""

COUNT = "Q"
UINT = "I"
TIME = "d"
"""Seconds since the epoch, or of the monotonic clock; 0.0: never."""
FLAG = "?"

Shown = int | float | str | None
"""None: not known, so it is left out."""


def clamp(code: str, value: Any) -> Any:
    """What can be true of a value with this code, whatever somebody has written."""
    if code == COUNT:
        return min(max(value, 0), COUNT_MAX)
    if code == UINT:
        return min(max(value, 0), UINT_MAX)
    if code == TIME:
        return min(value, TIME_MAX) if math.isfinite(value) and value > 0.0 else 0.0
    if code == FLAG:
        return bool(value)
    return value.partition(b"\0")[0].decode("latin-1")


@dataclass(frozen=True, slots=True)
class Php:
    """Marks a key of PHP-FPM's page: its metric on that page's `?openmetrics`, if it has one."""

    name: str
    kind: str
    help: str


@dataclass(frozen=True, slots=True)
class Metric:
    """Says what the number is called on /metrics."""

    name: str
    """Without the prefix."""
    help: str
    """Of rows with the same name the first one's counts."""
    kind: str = "gauge"
    label: str = ""
    """Where several rows are one family."""
    measure: Callable[[Any], int | float | None] | None = None
    """What is measured of the table's numbers, if it is not the number itself; None: not known."""


@dataclass(frozen=True, slots=True)
class Line:
    """Where the number is among the facts of a pool, on its HTML page and in `pyfpm status POOL`."""

    title: str
    words: str = "{}"
    """The text around the number."""
    is_optional: bool = False
    """Nothing is shown while it is not known."""


@dataclass(frozen=True, slots=True)
class Row:
    """One number; what is not given does not apply to it."""

    code: str = ""
    """Of struct, in the scoreboard; "": it is not kept there, whoever reads computes it."""
    merge: Callable[[Sequence[int]], int] | None = None
    """`sum` or `max`: of what the pool has already and its workers' slots (the attribute of the same name)."""
    key: str = ""
    """On the status page."""
    php: Php | None = None
    """The key is PHP-FPM's."""
    unit: str = ""
    """"time" (epoch seconds), "bytes", "milliseconds", "limit" (0: there is none), or nothing."""
    show: Callable[[Any], Shown] | None = None
    """What the page shows of the table's numbers, if it is not the number itself."""
    metric: Metric | None = None
    line: Line | None = None


_DEFAULTS = {TIME: 0.0, FLAG: False}


def number(code: str = "", *, default: Any = ..., **row: Any) -> Any:
    """A field of a table of numbers; without a default it is 0, or what that is for this code."""
    value = _DEFAULTS.get(code, 0) if default is ... else default
    return field(default=value, metadata={"row": Row(code, **row)})


def rows_of(table: type) -> dict[str, Row]:
    """The rows of a table by the names of its fields."""
    listed: tuple[Field[Any], ...] = fields(table)
    return {one.name: one.metadata["row"] for one in listed if "row" in one.metadata}


def codes_of(table: type) -> dict[str, str]:
    """The fields that are kept in the scoreboard, in order, with their codes."""
    return {name: row.code for name, row in rows_of(table).items() if row.code}


UNKNOWN_STATUS = 0xFFFFFFFF
"""In place of a wait status that nobody could tell."""


def describe_death(status: int) -> str:
    """A wait status (wait(2)) in words: "with code 3", "on signal 9 (SIGKILL)"."""
    signal = status & 0x7F
    if status == UNKNOWN_STATUS:
        return "in an unknown way"
    if not signal:
        return f"with code {status >> 8 & 0xFF}"
    try:
        return f"on signal {signal} ({Signals(signal).name})"
    except ValueError:
        return f"on signal {signal}"
