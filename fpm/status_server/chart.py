"""A pool's history as paths of SVG over an axis of time, without text, so that it may be stretched. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from fpm.frozen import dataclass
from fpm.status.figures import format_duration, format_rate
from fpm.status.past.recent import Moment
from fpm.status_server.axis import WIDTH, Axis

SPARK_HEIGHT = 34
WORKERS_HEIGHT = 120
RESPONSE_HEIGHT = 60
FAILURES_HEIGHT = 40
LONE = 15.0
"""Seconds that a moment covers at most which does not say how many."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A path, and the class that gives it its colour."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn of one thing."""

    title: str
    top: str
    """The value at the upper edge."""
    height: int
    shapes: tuple[Shape, ...]


def draw_workers(history: Sequence[Moment], axis: Axis, limit: int, height: int) -> Chart | None:
    """Draw all workers and the busy ones as areas, the queue as a line; None if nothing is known.

    Args:
        limit: pm.max_children, a dashed line as far as it is near the values.
    """
    moments = _by_column(history, axis)
    if not any(moments):
        return None
    columns = [_most(some) if some else (None, None, None) for some in moments]
    total, busy, queue = zip(*columns, strict=True)
    top = _scale(max(filter(None, total), default=1), max(filter(None, queue), default=0), limit)
    shapes = [
        Shape("idle", _path(total, axis, top, height, is_area=True)),
        Shape("busy", _path(busy, axis, top, height, is_area=True)),
    ]
    if limit <= top:
        shapes.append(Shape("limit", f"M0 {_y(limit, top, height)}H{WIDTH}"))
    if any(queue):
        shapes.append(Shape("queue", _path(queue, axis, top, height)))
    return Chart("Workers and queue", str(top), height, tuple(shapes))


def draw_all(history: Sequence[Moment], axis: Axis, limit: int) -> list[Chart]:
    """Draw workers, response time, and responses of class 5xx: each chart of which something is known."""
    moments = _by_column(history, axis)
    times = [max((one.p95 for one in some if one.p95 is not None), default=None) for some in moments]
    failures = [max((one.failures for one in some), default=0.0) or None for some in moments]
    charts = (
        draw_workers(history, axis, limit, WORKERS_HEIGHT),
        _area_of("p95", "Response time, p95", times, axis, RESPONSE_HEIGHT),
        _area_of("failures", "5xx/s", failures, axis, FAILURES_HEIGHT),
    )
    return [chart for chart in charts if chart is not None]


def _by_column(history: Sequence[Moment], axis: Axis) -> list[list[Moment]]:
    """Find the moments of each column; where there are none, nothing is known of that time."""
    found: list[list[Moment]] = [[] for _ in range(axis.columns)]
    start, step, last = axis.first, axis.step, axis.columns - 1
    before = -math.inf
    for one in history:
        at, span = one.at, one.span
        if axis.begin < at <= axis.end:
            if span <= 0:
                span = min(max(at - before, 0.0), LONE)
            # What ends at an edge belongs to the column before it, what begins there to the one behind it.
            end = min(int((at - start) / step - 1e-6), last)
            begin = min(int((max(at - span, start) - start) / step + 1e-6), end)
            for number in range(begin, end + 1):
                found[number].append(one)
        before = at
    return found


def _most(moments: Sequence[Moment]) -> tuple[int, int, int]:
    """Return the most workers, busy ones, and connections that waited."""
    if len(moments) == 1:
        one = moments[0]
        return one.active + one.idle, one.active, one.queue
    return (
        max([one.active + one.idle for one in moments]),
        max([one.active for one in moments]),
        max([one.queue for one in moments]),
    )


def _scale(most: int, queue: int, limit: int) -> int:
    top = max(1, most, queue)
    return max(top, limit) if limit <= 4 * top else top


def _area_of(kind: str, title: str, values: Sequence[float | None], axis: Axis, height: int) -> Chart | None:
    top = max((value for value in values if value is not None), default=0.0)
    if top <= 0:
        return None
    words = format_duration(top) if kind == "p95" else format_rate(top)
    return Chart(title, words, height, (Shape(kind, _path(values, axis, top, height, is_area=True)),))


def _path(values: Sequence[float | None], axis: Axis, top: float, height: int, *, is_area: bool = False) -> str:
    """Draw steps from column to column, with gaps where a value is None."""
    steps: list[str] = []
    close = f"V{height}Z" if is_area else ""
    drawn: float | None = None
    for edge, value in zip(axis.edges, values, strict=False):
        if value == drawn:
            continue
        if drawn is not None:
            steps.append(f"H{edge}")
        if value is None:
            steps.append(close)
        elif drawn is not None:
            steps.append(f"V{_y(value, top, height)}")
        else:
            steps.append(f"M{edge} {f'{height}V' if is_area else ''}{_y(value, top, height)}")
        drawn = value
    if drawn is not None:
        steps.append(f"H{axis.edges[-1]}{close}")
    return "".join(steps)


@lru_cache(maxsize=4096)
def _y(value: float, top: float, height: int) -> str:
    # One pixel stays free above and below, or a line at the edge would be half as thick. Small numbers come again.
    return f"{1 + (height - 2) * (1 - min(max(value / top, 0.0), 1.0)):.4g}"
