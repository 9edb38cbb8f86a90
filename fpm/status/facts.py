"""One pool in full, as names and values: on its HTML page and in `pyfpm status POOL`. Texts are not escaped. Pure."""

from __future__ import annotations

from fpm.log.times import format_iso
from fpm.scoreboard.number import Row, Shown
from fpm.scoreboard.numbers import ROWS, PoolNumbers
from fpm.status.figures import format_age, format_count, format_size, format_span
from fpm.status.overview import Pool


def pool_facts(pool: Pool, now: float, *, dates: bool) -> list[tuple[str, str]]:
    """What there is to say of a pool, but for its state; `now` is epoch seconds.

    Args:
        dates: of a time the date, not only how long ago it is.
    """
    numbers = pool.numbers
    limits = f"max {numbers.max_children}"
    if pool.status.process_manager == "dynamic":
        limits += f", {numbers.min_spare} to {numbers.max_spare} spare"
    after = f" ({numbers.background} in background work)" if numbers.background else ""
    return [
        ("application", pool.app),
        ("listens on", pool.listen),
        ("process manager", f"{pool.status.process_manager}, {limits}"),
        ("workers", f"{numbers.active} busy{after}, {numbers.idle} idle"),
        ("background", _background(numbers)),
        *_lines(numbers, now, dates),
    ]


def count_deaths(numbers: PoolNumbers) -> int:
    """How many workers have died, whatever the cause."""
    return sum([getattr(numbers, name) for name in _DEATHS])


_DEATHS = [name for name, row in ROWS.items() if row.line and row.line.title == "deaths"]


_FIRST = ("started", "requests", "responses")
"""Titles that come before the others, wherever their numbers stand in the table."""


def _lines(numbers: PoolNumbers, now: float, dates: bool) -> list[tuple[str, str]]:
    """The numbers that are part of a line, in the order of their table."""
    lines: dict[str, list[str]] = {title: [] for title in _FIRST}
    for name, row in ROWS.items():
        if row.line is not None:
            value = row.show(numbers) if row.show else getattr(numbers, name)
            is_hidden = row.line.is_optional and value is None
            text = "" if is_hidden else _format(value, row, now, dates)
            lines.setdefault(row.line.title, []).extend([row.line.words.format(text)] if text else [])
    return [(title, ", ".join(parts)) for title, parts in lines.items() if parts]


def _format(value: Shown, row: Row, now: float, dates: bool) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else ""
    if row.unit == "bytes":
        return format_size(value)
    if value is None:
        return "-"
    if row.unit == "milliseconds":
        return format_span(value / 1000)
    if row.unit == "time":
        ago = f"{format_age(now - value)} ago"
        return "never" if not value else f"{format_iso(value)} ({ago})" if dates else ago
    return "no limit" if row.unit == "limit" and not value else str(int(value))


def _background(numbers: PoolNumbers) -> str:
    workers = "1 worker" if numbers.background == 1 else f"{numbers.background} workers"
    limit = f" of at most {numbers.background_max}" if numbers.background_max else ""
    oldest = f", the oldest for {format_span(numbers.background_oldest)}" if numbers.background else ""
    early = ""
    if numbers.background_early:
        early = f", {format_count(numbers.background_early)} times before the response"
    return f"{workers} in background work{limit}{oldest}{early}"
