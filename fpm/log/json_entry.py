"""Entries of the error log as lines of JSON, for collectors that read a container's output. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fpm.log.escape import cut, escape_lines
from fpm.log.lines import Level
from fpm.log.times import format_utc

MESSAGE_MAX = 65536
"""Bytes: room for the longest traceback. Lines of the text form are wrapped at log_limit instead."""


def format_json(level: Level, text: str, now: float, *, pool: str = "", fields: Mapping[str, str | int]) -> str:
    """Format an entry, without its newline: time, level, pool, further fields, and the message.

    The message may have several lines; what could drive a terminal is escaped, should somebody print it.

    Args:
        now: epoch seconds.
        fields: what else is known, such as `event` and `pid`.
    """
    entry: dict[str, str | int] = {"time": format_utc(now), "level": level.name.lower()}
    if pool:
        entry["pool"] = pool
    message = cut(escape_lines(text.rstrip("\n")), MESSAGE_MAX)
    return json.dumps({**entry, **fields, "message": message}, ensure_ascii=False)
