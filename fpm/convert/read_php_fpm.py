"""Reads a pool file of PHP-FPM, whose directives are ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fpm.convert.given import Given

_HEAD = re.compile(r"\[\s*([^\[\]]*?)\s*\]\s*(?:[;#].*)?")


def read_php_fpm(text: str) -> Iterator[tuple[str, Given]]:
    """Yield the sections' names and options; a value is as it stands in the file, quotes and comments included."""
    section = "global"
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = line.strip()
        head = _HEAD.fullmatch(line)
        if head:
            section = head[1]
        elif line and line[0] not in ";#":
            name, equals, value = line.partition("=")
            reason = "" if equals else "the line has no '='"
            yield section, Given(number, name.strip(), value.strip(), reason)
