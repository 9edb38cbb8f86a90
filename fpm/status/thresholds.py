"""Ranges of the Monitoring Plugins guidelines, as `--warning` and `--critical` of a check have them. Pure."""

from __future__ import annotations

import math
import re

from fpm.frozen import dataclass

_RANGE = re.compile(r"(?P<inside>@?)(?:(?P<start>~|-?[0-9.]+)?(?P<colon>:))?(?P<end>-?[0-9.]+)?")


@dataclass(frozen=True, slots=True)
class Range:
    """Values for which there is no alert: from `start` to `end`, both included; or the others, if `is_inverted`."""

    text: str
    """As it was written; performance data repeat it."""
    start: float
    end: float
    is_inverted: bool = False

    def alerts(self, value: float) -> bool:
        """Return whether there is an alert for this value."""
        return (self.start <= value <= self.end) is self.is_inverted


def parse_range(text: str) -> Range:
    """Parse `10` (from 0 to 10 is in order), `10:` (from 10), `~:10` (up to 10), `10:20`, `@10:20` (what is outside).

    Raises:
        ValueError: it is none.
    """
    match = _RANGE.fullmatch(text)
    if match is None or not (match["colon"] or match["end"]):
        raise ValueError(f"'{text}' is no range: write 10, 10:, ~:10, 10:20 or @10:20")
    try:
        start = -math.inf if match["start"] == "~" else float(match["start"] or 0)
        end = float(match["end"]) if match["end"] else math.inf
    except ValueError:
        raise ValueError(f"'{text}' is no range: it has something that is no number") from None
    if start > end:
        raise ValueError(f"'{text}' is no range: its start is above its end")
    return Range(text, start, end, bool(match["inside"]))
