"""A URI without what differs between visitors. Pure."""

from __future__ import annotations

import re

PATTERN_MAX = 200
"""Characters of a pattern."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_HEX = re.compile(r"(?<![A-Za-z0-9%])(?=[0-9a-fA-F]*[0-9])(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{8,}(?![A-Za-z0-9])")
_NUMBER = re.compile(r"(?<![A-Za-z0-9%{])\d+(?![A-Za-z0-9])")


def uri_pattern(uri: str) -> str:
    """Replace what differs between visitors: `/user/{n}/edit?{query}` for `/user/17/edit?tab=2`, or `{hex}`, `{uuid}`.

    A number is one only where no letter touches it: `/v2/` stays. Hexadecimal needs eight digits, a letter among them.
    """
    path, question, _ = uri[:4000].partition("?")
    path = _NUMBER.sub("{n}", _HEX.sub("{hex}", _UUID.sub("{uuid}", path)))
    shown = path if len(path) <= PATTERN_MAX else path[: PATTERN_MAX - 3] + "..."
    return shown + "?{query}" * bool(question)
