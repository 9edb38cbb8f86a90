"""Times: English whatever the locale, and as strftime(3) in all else."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.log.times import format_access_time, format_log_time, format_time, local_time

LETTERS = "aAbBcdDeFgGhHIjklmMnprRSstTuUVwWxXyYzZ%"


@given(st.integers(0, 4_000_000_000), st.sampled_from(LETTERS))
def test_as_strftime_in_the_c_locale(moment: int, letter: str) -> None:
    assert format_time(moment, f"<%{letter}>") == time.strftime(f"<%{letter}>", time.localtime(moment))


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
