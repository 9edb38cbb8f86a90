"""The small history of a pool as inline SVG: no text inside, so that it may be stretched to any width.

Colours come from the style sheet by class (fpm.status.web_style).
"""

from __future__ import annotations

from collections.abc import Sequence

from fpm.status.overview import Moment

WIDTH = 600
POINTS_MAX = 300
"""More points than pixels of a phone are not drawn."""


def chart(history: Sequence[Moment], *, limit: int, height: int, label: str, points_max: int = POINTS_MAX) -> str:
    """Busy workers and idle ones above them as areas, the listen queue as a line.

    Args:
        limit: pm.max_children, a dashed line as far as it is near the values.
        points_max: of more moments the busiest are drawn.
        label: what it is, for those who cannot see it; safe for markup.
    """
    points = _thin(history, points_max)
    if len(points) < 2:
        return ""
    top = scale(points, limit)
    busy = [_y(moment.active, top, height) for moment in points]
    total = [_y(moment.active + moment.idle, top, height) for moment in points]
    queue = [_y(moment.queue, top, height) for moment in points]
    xs = _xs(points)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" height="{height}" preserveAspectRatio="none" '
        f'role="img" aria-label="{label}">',
        *(f'<path class="grid" d="M0 {height * part // 4}H{WIDTH}"/>' for part in (1, 2, 3)),
        f'<path class="idle" d="{_area(xs, total, height)}"/>',
        f'<path class="busy" d="{_area(xs, busy, height)}"/>',
    ]
    if limit <= top:
        parts.append(f'<path class="limit" d="M0 {_y(limit, top, height):g}H{WIDTH}"/>')
    if any(moment.queue for moment in points):
        parts.append(f'<path class="queue" d="{_line(xs, queue)}"/>')
    return "".join([*parts, "</svg>"])


def scale(history: Sequence[Moment], limit: int) -> int:
    """The number of workers (or of those who wait) at the upper edge of `chart`."""
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
