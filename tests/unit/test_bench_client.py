"""What the benchmark of reloads says of the answers that its clients have got."""

from __future__ import annotations

import math

import pytest

from bench.cases.deploys import apart
from bench.client import Answer, failures, outage, percentile


def answers(texts: str) -> list[Answer]:
    """One request a second; `x` has failed. Each takes half a second."""
    return [Answer(float(at), 0.5, None if text == "x" else text) for at, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("texts", "failed", "seconds"),
    [
        ("1111", 0, 0.0),
        ("", 0, 0.0),
        ("1x11", 1, 1.5),
        ("1x1x11", 2, 3.5),
        ("1xxx", 3, math.inf),
        ("xx", 2, math.inf),
        ("x2", 1, 1.5),
    ],
)
def test_a_site_is_out_from_the_first_failure_until_none_follows(texts: str, failed: int, seconds: float) -> None:
    assert failures(answers(texts)) == failed
    assert outage(answers(texts)) == seconds


def test_the_percentile_is_a_time_within_which_so_many_were_answered() -> None:
    times = [Answer(0.0, float(number), "1") for number in range(1, 101)]
    assert percentile(times, 0.99) == 99.0
    assert percentile(times, 1.0) == 100.0
    assert percentile(times[:1], 0.99) == 1.0
    assert math.isnan(percentile([], 0.99))


def test_a_request_belongs_to_a_reload_if_it_was_under_way_at_any_moment_of_it() -> None:
    inside, outside = apart(answers("111111"), [(1.25, 2.75), (4.75, 4.8)])
    assert [answer.sent for answer in inside] == [1.0, 2.0]
    assert [answer.sent for answer in outside] == [0.0, 3.0, 4.0, 5.0]
