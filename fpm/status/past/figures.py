"""What the past of a pool says, as numbers for programs and as names and values for people. Pure."""

from __future__ import annotations

from fpm.status.figures import format_count, format_percentile, format_rate, format_span
from fpm.status.overview import Pool
from fpm.status.past.recent import Window

PARTS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
SHORT = {60: "1m", 300: "5m", 3600: "1h"}
LONG = {60: "last minute", 300: "last 5 minutes", 3600: "last hour"}
WHOLE = 0.98
"""Of a window; where less of it is known, that is said."""


def past_numbers(pool: Pool) -> list[tuple[str, int]]:
    """Return what is known of each window; times are in microseconds, as those of requests in PHP-FPM's page."""
    found: list[tuple[str, int]] = []
    for window in pool.recent.windows if pool.recent is not None else ():
        ending = SHORT[window.seconds]
        counted = {
            "requests": window.requests,
            "errors": window.errors,
            "5xx": window.failures,
            "slow requests": window.slow,
            "deaths": window.deaths,
        }
        found += [(f"{name} {ending}", number) for name, number in counted.items()]
        times = [(name, window.response_time(part)) for name, part in PARTS.items()]
        found += [(f"{name} {ending}", int(time * 1e6)) for name, time in times if time is not None]
    return found


def past_facts(pool: Pool) -> list[tuple[str, str]]:
    """Return a line for each window that is known."""
    windows = pool.recent.windows if pool.recent is not None else ()
    return [(LONG[window.seconds], describe_window(window)) for window in windows]


def describe_window(window: Window) -> str:
    """Return `12.5 req/s, p50 12 ms, p95 40 ms, p99 80 ms, 3 responses 5xx, 1 error (of 40 s)`."""
    parts = [f"{format_rate(window.rate)} req/s"]
    times = [(name, window.response_time(part)) for name, part in PARTS.items()]
    parts += [f"{name} {format_percentile(time)}" for name, time in times if time is not None]
    counted = {
        ("response 5xx", "responses 5xx"): window.failures,
        ("error", "errors"): window.errors,
        ("slow", "slow"): window.slow,
        ("death", "deaths"): window.deaths,
    }
    parts += [f"{format_count(number)} {words[number != 1]}" for words, number in counted.items() if number]
    known = "" if window.covered >= WHOLE * window.seconds else f" (of {format_span(window.covered)})"
    return ", ".join(parts) + known
