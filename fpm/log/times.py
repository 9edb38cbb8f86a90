"""Times as logs and status pages show them: local time, names always English.

An application may call locale.setlocale() in the worker, and strftime(3) would then write other month names, which no
log reader expects. Therefore the parts that depend on the locale are formatted here. Pure.
"""

from __future__ import annotations

import re
from datetime import datetime

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


def local_time(moment: float) -> datetime:
    """Convert epoch seconds to local time with its offset; out of the calendar's range, the epoch."""
    try:
        return datetime.fromtimestamp(moment).astimezone()
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0).astimezone()


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


def format_time(moment: float, form: str) -> str:
    """Format a time in any strftime(3) form, as in the C locale."""
    at = local_time(moment)

    def replace(match: re.Match[str]) -> str:
        return _format_directive(at, match[1], match[2])

    return _DIRECTIVE.sub(replace, form)


def _format_directive(at: datetime, flag: str, letter: str) -> str:
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
