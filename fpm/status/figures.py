"""Numbers as people read them: for the HTML pages, `pyfpm status` and `pyfpm top`."""

from __future__ import annotations

from collections.abc import Sequence

from fpm.scoreboard.buckets import BOUNDS

_SIZES = (("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30), ("TiB", 2**40))
_SPANS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def format_span(seconds: float) -> str:
    """`340 ms`, `4.2 s`, `38 s`, `5 min 3 s`, `2 h 10 min`, `12 d 4 h`: two units at most."""
    if seconds < 0.9995:
        return f"{max(seconds, 0.0) * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    left = round(seconds)
    for at, (unit, size) in enumerate(_SPANS):
        if left >= size:
            count, rest = divmod(left, size)
            small_unit, small = _SPANS[at + 1] if at + 1 < len(_SPANS) else ("", 1)
            return f"{count} {unit} {rest // small} {small_unit}" if small_unit and rest // small else f"{count} {unit}"
    raise AssertionError("at least ten seconds are left")


def format_duration(seconds: float | None) -> str:
    """As `format_span`, but `80 µs` for what is shorter than a millisecond; `-` for None."""
    if seconds is None:
        return "-"
    return f"{seconds * 1e6:.0f} µs" if 0 < seconds < 0.0009995 else format_span(seconds)


def format_percentile(seconds: float | None, bounds: Sequence[int] = BOUNDS) -> str:
    """As `format_duration`; `> 1 min 40 s` where the buckets end, because then only that is known."""
    return f"{'> ' if is_open(seconds, bounds) else ''}{format_duration(seconds)}"


def is_open(seconds: float | None, bounds: Sequence[int]) -> bool:
    """Decide whether a percentile is where the buckets end: it may be any longer time."""
    return seconds is not None and seconds * 1e6 >= bounds[-1]


def format_age(seconds: float) -> str:
    """As `format_span`, in whole seconds and above: for what lasts long."""
    return "0 s" if seconds < 1 else format_span(max(seconds, 10.0)) if seconds >= 9.5 else f"{seconds:.0f} s"


def format_size(size: float | None) -> str:
    """Bytes as `0 B`, `812 KiB`, `34.5 MiB`; `-` for None."""
    if size is None:
        return "-"
    unit, scale = "B", 1
    for unit_above, scale_above in _SIZES:
        if size < scale_above:
            break
        unit, scale = unit_above, scale_above
    value = size / scale
    return f"{value:.0f} {unit}" if unit in ("B", "KiB") or value >= 99.95 else f"{value:.1f} {unit}"


def format_rate(rate: float | None) -> str:
    """Something a second: `0`, `0.3`, `12.5`, `480`; `-` for None."""
    if rate is None:
        return "-"
    return "0" if rate < 0.05 else f"{rate:.1f}" if rate < 99.95 else f"{rate:.0f}"


def format_count(count: int) -> str:
    """`9,999`, `12.3 k`, `4.5 M`, `1.2 G`: never wider than seven characters."""
    if count < 10000:
        return f"{count:,}"
    for unit, scale in (("G", 10**9), ("M", 10**6)):
        if count >= scale * 0.9995:
            return f"{count / scale:.1f} {unit}"
    return f"{count / 1000:.1f} k"
