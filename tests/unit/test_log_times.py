"""Times: English whatever the locale, and as strftime(3) in all else."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.log.times import (
    KEPT_FOR,
    Zone,
    format_access_time,
    format_iso,
    format_iso_offset,
    format_log_time,
    format_time,
    local_time,
)

LETTERS = "aAbBcdDeFgGhHIjklmMnprRSstTuUVwWxXyYzZ%"


@given(st.integers(0, 4_000_000_000), st.sampled_from(LETTERS))
def test_as_strftime_in_the_c_locale(moment: int, letter: str) -> None:
    assert format_time(moment, f"<%{letter}>") == time.strftime(f"<%{letter}>", time.localtime(moment))


@pytest.fixture
def summer_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A zone whose clocks change twice a year."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("summer_time")
def test_a_kept_zone_knows_when_clocks_will_change() -> None:
    now = 1_758_463_391
    zone = Zone(now)
    changes = [1_761_440_400, 1_774_746_000, 1_792_890_000]  # 01:00 UTC on 26 Oct 2025, 29 Mar 2026, 25 Oct 2026
    for moment in [now, *[change + by for change in changes for by in (-1, 0)], now + KEPT_FOR - 10]:
        assert datetime.fromtimestamp(moment, zone.at(moment)) == local_time(moment)
        assert zone.at(moment).utcoffset(None) == local_time(moment).utcoffset()
        assert zone.at(moment).tzname(None) == time.strftime("%Z", time.localtime(moment))


def test_flags_stay() -> None:
    assert format_time(0, "%-d") == time.strftime("%-d", time.localtime(0))


def test_shapes() -> None:
    moment = 1758463391.123456
    assert format_log_time(moment) == time.strftime("%d-%b-%Y %H:%M:%S", time.localtime(moment))
    assert format_log_time(moment, microseconds=True).endswith(".123456")
    assert format_access_time(moment) == time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(moment))


@pytest.mark.parametrize("moment", [math.inf, -math.inf, math.nan, 1e300, -1e300])
def test_what_is_no_time_is_the_epoch(moment: float) -> None:
    assert local_time(moment) == local_time(0)


def test_times_for_people_and_for_programs() -> None:
    moment = 1_795_000_000.9
    assert format_iso(moment) == time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    assert format_iso_offset(moment).replace(":", "") == time.strftime("%Y-%m-%dT%H%M%S%z", time.localtime(moment))
    assert format_iso(1e300) == format_iso(0)
