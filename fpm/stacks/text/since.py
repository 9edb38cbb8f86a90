"""`--since`: a time as people write it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

EXAMPLES = "90m, 1h, 2d, today, yesterday, 10:30 or 2026-11-21T10:00"

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN = re.compile(r"(\d{1,9})(s|min|m|h|d|w)")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


def parse_since(text: str, now: float) -> float:
    """Epoch seconds of `90m`, `1h`, `2d`, `1w` (so long ago), `today`, `yesterday`, `10:30` (today), or of a date with
    or without a time, `2026-11-21T10:00`; local time unless it says otherwise.

    Args:
        now: epoch seconds.

    Raises:
        ValueError: it is none of these; the text says what is.
    """
    word = text.strip()
    span = _SPAN.fullmatch(word)
    if span is not None:
        return now - int(span[1]) * _UNITS[span[2]]
    midnight = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        if word in ("today", "yesterday"):
            return (midnight - timedelta(days=word == "yesterday")).timestamp()
        if _CLOCK.fullmatch(word):
            word = (
                f"{midnight.date().isoformat()}T{word:0>5}" if word.count(":") == 1 else f"{midnight.date()}T{word:0>8}"
            )
        return datetime.fromisoformat(word).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(
            f"expected 90m, 1h, 2d, today, yesterday, 10:30 or 2026-11-21T10:00, found '{text}'"
        ) from error
