"""The small history of a pool as paths of SVG, without text, so that it may be stretched to any width. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from fpm.frozen import dataclass
from fpm.status.overview import Moment

WIDTH = 600
POINTS_MAX = 300
"""More points than pixels of a phone are not drawn."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Areas of busy workers and of all workers, lines for the queue and the limit; "" where there is none."""

    height: int
    top: int
    """The number of workers (or of those who wait) at the upper edge."""
    total: str
    busy: str
    queue: str
    limit: str
    width: int = WIDTH

    @property
    def grid(self) -> list[int]:
        """Return where the horizontal lines are."""
        return [self.height * part // 4 for part in (1, 2, 3)]


def make_chart(history: Sequence[Moment], *, limit: int, height: int, points_max: int = POINTS_MAX) -> Chart | None:
    """The chart of a history that has two points at least.

    Args:
        limit: pm.max_children, a dashed line as far as it is near the values.
        points_max: of more moments the busiest are drawn.
    """
    points = _thin(history, points_max)
    if len(points) < 2:
        return None
    top = _scale(points, limit)
    xs = _xs(points)

    def ys(values: Sequence[int]) -> list[float]:
        return [_y(value, top, height) for value in values]

    return Chart(
        height=height,
        top=top,
        total=_area(xs, ys([one.active + one.idle for one in points]), height),
        busy=_area(xs, ys([one.active for one in points]), height),
        queue=_line(xs, ys([one.queue for one in points])) if any(one.queue for one in points) else "",
        limit=f"M0 {_y(limit, top, height):g}H{WIDTH}" if limit <= top else "",
    )


def _scale(history: Sequence[Moment], limit: int) -> int:
    most = max([1, *(moment.active + moment.idle for moment in history), *(moment.queue for moment in history)])
    return max(most, limit) if limit <= 4 * most else most


def _thin(history: Sequence[Moment], points_max: int) -> Sequence[Moment]:
    """At most `points_max` moments, of each group the busiest, so that a short peak is not lost."""
    size = -(-len(history) // points_max)
    if size <= 1:
        return history
    groups = [history[at : at + size] for at in range(0, len(history), size)]
    return [max(group, key=lambda moment: (moment.queue, moment.active)) for group in groups]


def _xs(points: Sequence[Moment]) -> list[float]:
    begin = points[0].at
    span = max(points[-1].at - begin, 1e-6)
    return [round(min(max((moment.at - begin) / span, 0.0), 1.0) * WIDTH, 1) for moment in points]


def _y(value: float, top: float, height: int) -> float:
    # One pixel stays free above and below, or a line at the edge would be half as thick.
    return round(1 + (height - 2) * (1 - min(max(value / top, 0.0), 1.0)), 1)


def _line(xs: Sequence[float], ys: Sequence[float]) -> str:
    steps = [f"M{xs[0]:g} {ys[0]:g}"]
    last = ys[0]
    for x, y in zip(xs[1:], ys[1:], strict=True):
        if y != last:
            steps.append(f"H{x:g}V{y:g}")
            last = y
    return "".join([*steps, f"H{xs[-1]:g}"])


def _area(xs: Sequence[float], ys: Sequence[float], height: int) -> str:
    return f"{_line(xs, ys)}V{height}H{xs[0]:g}Z"
