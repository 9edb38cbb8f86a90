"""What the HTML pages are asked for, and which pools the first one shows, in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.status.overview import Pool
from fpm.status.trouble import Trouble
from fpm.status_server.front import Filter, make_front, read_filter, read_span
from tests.support import overviews
from tests.support.overviews import NASTY


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", Filter()),
        ("q=shop", Filter("shop")),
        ("q=+%C3%84b+c+&state=failed", Filter("Äb c", "failed")),
        ("state=nonsense&q=", Filter()),
        ("q=%ff%00", Filter("\ufffd\0")),
        ("q=" + "x" * 5000, Filter("x" * 100)),
        ("&".join("q=x" for _ in range(50)), Filter()),
        ("json&full", Filter()),
    ],
)
def test_filters(query: str, wanted: Filter) -> None:
    assert read_filter(query) == wanted


@given(st.text())
def test_any_query_string(query: str) -> None:
    wanted = read_filter(query)
    assert wanted.link("failed").startswith("?")
    make_front(overviews.overview().pools, wanted)
    assert read_span(query) in ("1h", "6h")


def test_spans() -> None:
    assert [read_span(query) for query in ("", "span=6h", "span=7h", "span=6h&span=1h")] == ["1h", "6h", "1h", "1h"]


def test_links_keep_the_filter() -> None:
    wanted = Filter(NASTY, "idle")
    assert read_filter(wanted.link("failed")[1:]).state == "failed"
    assert read_filter(Filter("a&b=c").link("slow")[1:]) == Filter("a&b=c", "slow")


def in_trouble(**values: object) -> Pool:
    return overviews.pool(recent=overviews.recent(5.0, **values))  # type: ignore[arg-type]


def test_trouble_comes_first() -> None:
    slow, errors, fine = in_trouble(slow=1), in_trouble(failures=1), overviews.pool()
    saturated = replace(overviews.busy_shop(), workers=())
    front = make_front([overviews.idle(), fine, slow, errors, saturated, overviews.broken()], Filter())
    assert [line.trouble for line in front.lines] == list(Trouble)[:5]
    assert [line.pool.name for line in front.idle] == [overviews.idle().name]
    assert front.counts == (
        ("failed", 1),
        ("saturated", 1),
        ("errors", 1),
        ("slow", 1),
        ("serving", 1),
        ("idle", 1),
    )
    assert [line.since for line in front.lines[:3]] == [overviews.NOW - 90, overviews.NOW - 240, None]


def test_sums_are_those_of_all_pools() -> None:
    bare = overviews.pool(rate=None, recent=None, memory_pss=None)
    total = make_front([in_trouble(failures=3, errors=2), bare], Filter("nothing")).total
    assert (total.pools, total.busy, total.rate, total.failures, total.errors) == (2, 18, 5.0, 3, 2)
    assert make_front([bare], Filter()).total.rate is None
