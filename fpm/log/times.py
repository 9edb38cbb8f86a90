"""Times as logs and status pages show them: local time, names always English.

An application may call locale.setlocale() in the worker, and strftime(3) would then write other month names, which no
log reader expects. Therefore the parts that depend on the locale are formatted here. It may call time.tzset(), as
Django does for its TIME_ZONE; therefore a process of a pool keeps the zone in which it began. Pure.
"""

from __future__ import annotations

import datetime as calendar
import re
from bisect import bisect

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS_LONG = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_COMPOSED = {
    "c": "%a %b %e %H:%M:%S %Y",
    "x": "%m/%d/%y",
    "X": "%H:%M:%S",
    "r": "%I:%M:%S %p",
    "+": "%a %b %e %H:%M:%S %Z %Y",
}
_DIRECTIVE = re.compile("%([EO_^0#-]?)(.)", re.DOTALL)


KEPT_FOR = 3 * 366 * 86400
"""Seconds: longer than a template lives."""
_LOOK_EVERY = 14 * 86400
"""Seconds; no country has changed its clocks twice within two weeks and back."""


class Zone:
    """Local time as it is now and will be.

    Args:
        now: epoch seconds.
    """

    def __init__(self, now: float) -> None:
        self._zones = [_zone_at(int(now))]
        self._changes: list[int] = []
        before = int(now)
        for after in range(before + _LOOK_EVERY, before + KEPT_FOR, _LOOK_EVERY):
            if _zone_at(after) != self._zones[-1]:
                self._changes.append(_find_change(before, after))
                self._zones.append(_zone_at(after))
            before = after

    def at(self, moment: float) -> calendar.timezone:
        """Return the offset, with its name, at this moment."""
        return self._zones[bisect(self._changes, moment)]


def _zone_at(moment: int) -> calendar.timezone:
    zone = calendar.datetime.fromtimestamp(moment).astimezone().tzinfo
    assert isinstance(zone, calendar.timezone), "astimezone() gives one"
    return zone


def _find_change(before: int, after: int) -> int:
    old = _zone_at(before)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (middle, after) if _zone_at(middle) == old else (before, middle)
    return after


_kept: Zone | None = None


def keep_zone(now: float) -> None:
    """Let local time in this process be what it is now, whatever becomes of TZ."""
    global _kept
    _kept = Zone(now)


def local_time(moment: float) -> calendar.datetime:
    """Convert epoch seconds to local time with its offset; out of the calendar's range, the epoch."""
    try:
        if _kept is not None:
            return calendar.datetime.fromtimestamp(moment, _kept.at(moment))
        return calendar.datetime.fromtimestamp(moment).astimezone()
    except (OverflowError, ValueError, OSError):
        return calendar.datetime.fromtimestamp(0).astimezone()


def format_log_time(moment: float, *, microseconds: bool = False) -> str:
    """Format the error log's time: `21-Sep-2025 14:03:11`, optionally with `.123456`."""
    at = local_time(moment)
    text = f"{at.day:02}-{MONTHS[at.month - 1]}-{at.year:04} {at.hour:02}:{at.minute:02}:{at.second:02}"
    return f"{text}.{at.microsecond:06}" if microseconds else text


def format_access_time(moment: float) -> str:
    """Format the time of access logs and of the status page: `05/Jul/2025:10:00:00 +0000`."""
    at = local_time(moment)
    clock = f"{at.hour:02}:{at.minute:02}:{at.second:02}"
    return f"{at.day:02}/{MONTHS[at.month - 1]}/{at.year:04}:{clock} {at:%z}"


def format_iso(moment: float) -> str:
    """Format a time for people, as in ISO 8601 but for the T: `2026-11-30 14:02:11`."""
    return local_time(moment).replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")


def format_iso_offset(moment: float) -> str:
    """Format a time for programs, with its offset: `2026-11-30T14:02:11+01:00`."""
    return local_time(moment).isoformat(timespec="seconds")


def format_utc(moment: float) -> str:
    """Format a time as in RFC 3339, with milliseconds: `2026-11-30T00:20:00.123Z`; out of range, the epoch."""
    try:
        at = calendar.datetime.fromtimestamp(moment, calendar.UTC)
    except (OverflowError, ValueError, OSError):
        at = calendar.datetime.fromtimestamp(0, calendar.UTC)
    return f"{at.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def format_time(moment: float, form: str) -> str:
    """Format a time in any strftime(3) form, as in the C locale."""
    at = local_time(moment)

    def replace(match: re.Match[str]) -> str:
        return _format_directive(at, match[1], match[2])

    return _DIRECTIVE.sub(replace, form)


def _format_directive(at: calendar.datetime, flag: str, letter: str) -> str:
    if letter in _COMPOSED:
        return _DIRECTIVE.sub(lambda match: _format_directive(at, match[1], match[2]), _COMPOSED[letter])
    match letter:
        case "a":
            return _DAYS[at.weekday()][:3]
        case "A":
            return _DAYS[at.weekday()]
        case "b" | "h":
            return MONTHS[at.month - 1]
        case "B":
            return _MONTHS_LONG[at.month - 1]
        case "p":
            return "AM" if at.hour < 12 else "PM"
        case "P":
            return "am" if at.hour < 12 else "pm"
        case "s":
            return str(int(at.timestamp()))
        case "f":
            return f"%{flag}f"
    return at.strftime(f"%{flag}{letter}")
