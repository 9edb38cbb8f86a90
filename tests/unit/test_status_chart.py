"""The charts of the HTML pages: a fixed span with gaps, ticks at round local times, marks on the same axis."""

from __future__ import annotations

import math
import re

import pytest

from fpm.log.times import local_time
from fpm.status.past.recent import Mark, MarkKind, Moment
from fpm.status_server.axis import MARKS_MAX, WIDTH, Axis, make_axis
from fpm.status_server.chart import Chart, draw_all, draw_workers
from tests.support import overviews

NOW = 1_795_000_000.0
HOUR = make_axis(NOW, 3600, 60, 600)


def moment(at: float, active: int = 1, *, span: float = 60.0, queue: int = 0, p95: float | None = None) -> Moment:
    return Moment(at, 1, active, queue, 1.0, span, 0.0, p95)


def draw(*history: Moment, axis: Axis = HOUR, limit: int = 10) -> Chart | None:
    return draw_workers(history, axis, limit, 34)


def path(chart: Chart | None, kind: str) -> str:
    """The path of this kind; "" if nothing is drawn of it."""
    return "".join(shape.path for shape in chart.shapes if shape.kind == kind) if chart is not None else ""


def numbers_in(chart: Chart) -> list[float]:
    return [float(one) for shape in chart.shapes for one in re.findall(r"[-\d.]+(?:e[-+]\d+)?", shape.path)]


def test_an_hour_is_an_hour_whatever_is_known_of_it() -> None:
    drawn = path(draw(moment(NOW - 60), moment(NOW)), "busy")
    assert next(float(one) for one in re.findall(r"[MH]([\d.]+)", drawn)) >= WIDTH * 58 / 60 - 10
    assert drawn.endswith("Z")
    assert draw() is None
    assert draw(moment(NOW - 4000), moment(NOW + 60)) is None, "both lie outside"


@pytest.mark.parametrize(("span", "every"), [(60.0, 60), (5.0, 5), (0.0, 5)])
def test_what_nobody_has_seen_is_a_gap(span: float, every: int) -> None:
    """Also where a moment does not say how many seconds it covers."""
    whole = [moment(NOW - ago, span=span) for ago in range(1200, -1, -every)]
    known = path(draw(*whole), "busy")
    gap = path(draw(*[one for one in whole if not 300 <= NOW - one.at < 600]), "busy")
    assert (known.count("M"), gap.count("M"), gap.count("Z")) == (1, 2, 2)


def test_columns_keep_what_they_have_shown() -> None:
    """They begin at whole multiples of their length, so a peak does not move from one to the next and back."""
    history = [moment(NOW - ago, ago % 7, span=5.0) for ago in range(1800, 0, -5)]
    heights = set()
    for later in range(0, 60, 7):
        drawn = path(draw(*history, axis=make_axis(NOW + later, 3600, 60, 600)), "busy")
        heights.add(tuple(re.findall(r"V([\d.]+)", drawn)))
    assert len(heights) == 1


def test_a_short_peak_is_not_lost() -> None:
    history = [moment(NOW - ago, 1, span=5.0) for ago in range(3600, 0, -5)]
    history[300] = moment(history[300].at, 9, span=5.0, queue=3, p95=2.0)
    workers, response = draw_all(history, HOUR, 10)
    assert (workers.top, response.top) == ("10", "2.0 s")
    assert path(workers, "queue")
    assert path(response, "p95").count("M") == 1


def test_failures_have_a_chart_of_their_own_where_there_are_any() -> None:
    titles = [chart.title for chart in draw_all(overviews.busy_shop().history, HOUR, 20)]
    assert titles == ["Workers and queue", "Response time, p95", "5xx/s"]
    assert [chart.title for chart in draw_all([moment(NOW)], HOUR, 20)] == ["Workers and queue"]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 500, 5000])
@pytest.mark.parametrize("span", [0.0, 1.0, 1e9])
def test_a_chart_of_any_history(count: int, span: float) -> None:
    history = [
        Moment(NOW - at, at % 5, at % 7, 10**9 * (at == 3), 0.0, span, at % 2, None) for at in range(count, 0, -1)
    ]
    for drawn in draw_all(history, HOUR, 10):
        assert all(0 <= number <= WIDTH for number in numbers_in(drawn))
        assert sum(len(shape.path) for shape in drawn.shapes) < 5_000


def test_a_chart_of_impossible_times() -> None:
    same = [moment(NOW - 5)] * 3
    back = [moment(NOW - 5), moment(NOW - 900, span=-5.0), moment(NOW - 9, -1)]
    nowhere = [moment(math.inf), moment(-math.inf), moment(math.nan), moment(NOW, span=math.inf)]
    for history in (same, back, nowhere):
        for drawn in draw_all(history, HOUR, 0):
            assert "nan" not in str(drawn)
            assert "inf" not in str(drawn)


@pytest.mark.parametrize(("span", "columns", "tick"), [(3600, 240, 600), (6 * 3600, 360, 3600)])
def test_ticks_are_round_local_times(span: int, columns: int, tick: int) -> None:
    axis = make_axis(NOW, span, columns, tick)
    for one in axis.ticks:
        at = axis.begin + float(one.percent.rstrip("%")) / 100 * span
        assert abs((at + local_time(at).utcoffset().total_seconds()) % tick - tick / 2) > tick / 2 - 5  # type: ignore[union-attr]
        assert one.label in ("", f"{local_time(round(at, -1)):%H:%M}")
    assert len(axis.ticks) == 6
    assert axis.edges[0] == "0"
    assert float(axis.edges[-1]) == WIDTH


def test_marks_lie_on_the_axis() -> None:
    marks = [Mark(NOW - ago, MarkKind.DEATH) for ago in range(7200, -1, -60)]
    placed = HOUR.place([*marks, Mark(NOW + 5, MarkKind.DEPLOY), Mark(math.nan, MarkKind.DEPLOY)])
    assert len(placed) == MARKS_MAX
    assert placed[-1].percent == "100%"
    assert all(one.is_bad for one in placed)
