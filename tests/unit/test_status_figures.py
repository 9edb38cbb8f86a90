"""Numbers as people read them."""

from __future__ import annotations

import pytest

from fpm.status import figures


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"),
        (0, "0 ms"),
        (0.0344, "34 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (74.2, "1 min 14 s"),
        (3600, "1 h"),
        (7800, "2 h 10 min"),
        (86400 * 12 + 4 * 3600, "12 d 4 h"),
        (86400 * 5000, "5000 d"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert figures.format_span(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0 ms"),
        (0.00008, "80 µs"),
        (0.000999, "999 µs"),
        (0.0009996, "1 ms"),
        (0.0012, "1 ms"),
        (2, "2.0 s"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert figures.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0 s"), (0.4, "0 s"), (1.2, "1 s"), (9.7, "10 s"), (75, "1 min 15 s")]
)
def test_ages(seconds: float, text: str) -> None:
    assert figures.format_age(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (34.5 * 2**20, "34.5 MiB"),
        (312 * 2**20, "312 MiB"),
        (2**31, "2.0 GiB"),
        (2**50, "1024 TiB"),
    ],
)
def test_sizes(size: float | None, text: str) -> None:
    assert figures.format_size(size) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(None, "-"), (0, "0"), (0.04, "0"), (0.32, "0.3"), (12.5, "12.5"), (481.2, "481")]
)
def test_rates(rate: float | None, text: str) -> None:
    assert figures.format_rate(rate) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (9999, "9,999"), (10000, "10.0 k"), (999_400, "999.4 k"), (999_900, "1.0 M"), (88_120_911, "88.1 M")],
)
def test_counts(count: int, text: str) -> None:
    assert figures.format_count(count) == text
    assert len(text) <= 7


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "-"), (0.00008, "80 µs"), (99.6, "1 min 40 s"), (100.0, "> 1 min 40 s")]
)
def test_a_percentile_that_the_buckets_do_not_reach_says_so(seconds: float | None, shown: str) -> None:
    assert figures.format_percentile(seconds) == shown
