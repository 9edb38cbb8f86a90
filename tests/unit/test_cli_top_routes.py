"""`pyfpm top --by url` without a daemon: rows, order, keys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fpm.cli.columns import fit
from fpm.cli.top_figures import BY_NAME, Sample, compare
from fpm.cli.top_routes import ROUTE_KEYS, RouteRow, compare_routes, route_columns, route_object, sort_routes
from fpm.cli.top_view import View
from fpm.scoreboard.route_table import BEGINS, BUCKETS
from fpm.status.overview import Pool, Route
from fpm.status.snapshot import Snapshot
from tests.support import overviews

NO_BUCKETS = (0,) * BUCKETS


def route(name: str, requests: int, seconds: float, **more: float) -> Route:
    values = {"errors": 0, "cpu": seconds / 2, "p95": 0.001, "growth": 0, **more}
    return Route(route=name, requests=requests, time=seconds, buckets=NO_BUCKETS, **values)  # type: ignore[arg-type]


def sample(at: float, *pools: Pool) -> Sample:
    return Sample(at, Snapshot(overviews.overview().daemon, pools), {})


SHOP = overviews.pool("shop", routes=(route("/a", 100, 8.0, growth=5), route("/b", 900, 2.0), route("", 5, 0.0)))
BLOG = overviews.pool("blog", routes=(route("/a", 10, 50.0, errors=3, p95=4.0),))
BEFORE = sample(10.0, SHOP, BLOG)
LATER = sample(
    12.0, replace(SHOP, routes=(route("/a", 120, 9.0, growth=5), route("/b", 900, 2.0), route("/new", 4, 1.0))), BLOG
)


def names(rows: list[RouteRow]) -> list[tuple[str, str]]:
    return [(row.pool.name, row.name) for row in rows]


def test_a_row_has_its_rate_and_its_share_of_the_time() -> None:
    rows = {(row.pool.name, row.name): row for row in compare_routes(BEFORE, LATER, None)}
    assert rows["shop", "/a"].rate == 10.0
    assert rows["shop", "/a"].share == pytest.approx(0.75)
    assert (rows["shop", "/b"].rate, rows["shop", "/new"].rate, rows["blog", "/a"].rate) == (0.0, 2.0, 0.0)
    assert all(row.rate is None for row in compare_routes(None, LATER, None))
    assert route_object(rows["shop", "/new"])["requests_per_second"] == 2.0


def test_what_was_counted_before_the_base_is_left_out() -> None:
    rows = compare_routes(BEFORE, LATER, BEFORE)
    assert names(rows) == [("shop", "/a"), ("shop", "/new")]
    assert (rows[0].route.requests, rows[0].route.growth) == (20, 0)


@pytest.mark.parametrize(
    ("key", "first"),
    [
        ("l", ("blog", "/a")),
        ("r", ("shop", "/b")),
        ("c", ("blog", "/a")),
        ("p", ("blog", "/a")),
        ("m", ("shop", "/a")),
        ("e", ("blog", "/a")),
        ("n", ("shop", "(others)")),
    ],
)
def test_each_key_sorts(key: str, first: tuple[str, str]) -> None:
    view = View(BY_NAME["busy"], urls=True)
    view.press(key, 10)
    rows = view.select([], [], compare_routes(None, BEFORE, None))
    assert (rows[0].pool.name, getattr(rows[0], "name", "")) == first
    view.press("o", 10)
    assert list(view.select([], [], compare_routes(None, BEFORE, None))) == list(
        sort_routes(compare_routes(None, BEFORE, None), view.route_sort, upside_down=True)
    )


def test_keys_lead_to_the_routes_and_back() -> None:
    view = View(BY_NAME["busy"])
    pools, workers = compare(None, BEFORE)
    view.select(pools, workers)
    assert view.names == ["blog", "shop"] or view.names == ["shop", "blog"]
    view.press("enter", 10)
    opened = view.pool
    view.press("a", 10)
    assert view.sort_keys == ROUTE_KEYS
    rows = view.select(pools, workers, compare_routes(None, BEFORE, None))
    assert {row.pool.name for row in rows} == {opened}
    view.press("enter", 10)
    assert (view.trace, view.urls) == ("", True), "there is nothing behind a route"
    view.press("z", 10)
    assert view.is_zeroed
    view.press("escape", 10)
    for key in "/(oth":
        view.press(key, 10)
    view.press("enter", 10)
    assert names(list(view.select(pools, workers, compare_routes(None, BEFORE, None)))) == [("shop", "(others)")]  # type: ignore[arg-type]
    view.press("w", 10)
    assert (view.urls, view.shows_workers) == (False, True)


def test_a_percentile_that_the_buckets_do_not_reach_says_so() -> None:
    routes = (route("/a", 9, 900.0, p95=BEGINS[-1] / 1e6), route("/b", 9, 9.0, p95=4.0))
    rows = compare_routes(None, sample(1.0, overviews.pool(routes=routes)), None)
    (column,) = (one for one in route_columns(rows, with_pool=False) if one.head == "P95")
    assert [cell.text for cell in column.cells] == ["> 34 s", "4.0 s"]


def test_a_narrow_terminal_keeps_what_matters_and_shows_no_control_characters() -> None:
    rows = compare_routes(BEFORE, sample(12.0, overviews.pool(routes=(route("/\x1b[2J" + "x" * 99, 1, 0.5),))), None)
    columns = fit(route_columns(rows, with_pool=False), 50)
    assert [column.head for column in columns][:2] == ["ROUTE", "REQUESTS"]
    assert columns[0].cells[0].text.startswith("/\\x1b[2J")
