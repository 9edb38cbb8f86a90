"""The past of one pool: points at falling resolution, what was counted of late, marks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fpm.status.past.counts import add_statistics
from fpm.status.past.marks import add_mark, find_marks
from fpm.status.past.points import Merged, Row, Tier, Total, Trailing, read_row
from fpm.status.past.recent import WINDOWS, Mark, Moment, Recent, Window
from fpm.status.past.sample import Sample, beginning, difference, is_same_count

SPACING = 4.5
"""Seconds between two points at least: who looks more often makes no finer history."""
SHORTEST = 0.2
"""The same before the last point of a daemon that stops."""
GAP = 20.0
"""Seconds between two samples from which nothing is known of the time between."""
RATE_OVER = 10.0
"""Seconds over which the present rate is computed."""
RATE_LEAST = 1.0
"""Seconds that must be known for it."""
MIDDLE, COARSE = 30, 180
"""Seconds that a point of the second and third tier covers at most."""
KEPT = 6 * 3600.0
"""Seconds that are kept."""
FINE_POINTS, MIDDLE_POINTS, COARSE_POINTS = 120, 120, 120
"""10 minutes, 1 hour, 6 hours."""
FINE_WINDOW = FINE_POINTS * SPACING
"""Seconds: the longest window that the first tier is enough for."""
TOLERANCE = 1.0
"""Seconds that may lie between two points of one merged point."""


Point = tuple[Row, bytes]
"""With what was counted in it."""


class Track:
    """Keeps the past of one pool in bounded memory."""

    __slots__ = (
        *("_brief", "_to_coarse", "_to_middle", "_windows", "base", "coarse", "fine", "marks", "middle"),
        "saturated_since",
    )

    def __init__(self) -> None:
        self.base: Sample | None = None
        """The sample that the last point ends with."""
        self.marks: list[Mark] = []
        self.saturated_since: float | None = None
        self._clear()

    def _clear(self) -> None:
        self.fine = Tier(FINE_POINTS)
        self.middle = Tier(MIDDLE_POINTS)
        self.coarse = Tier(COARSE_POINTS, keeps_counts=False)
        self._to_middle: Merged | None = None
        self._to_coarse: Merged | None = None
        self._windows = [Trailing(self.fine if seconds <= FINE_WINDOW else self.middle, seconds) for seconds in WINDOWS]
        self._brief: tuple[Moment, ...] | None = None

    # ---------------------------------------------------------------- taking

    def add(self, sample: Sample, spacing: float = SPACING) -> float:
        """Take a sample; one that comes less than `spacing` seconds after the last point adds none.

        Returns:
            Seconds until the news that it has can be taken; 0.0: it has none, or it was taken.
        """
        base = self.base
        passed = sample.at - base.at if base is not None else 0.0
        if base is not None and 0 <= passed < spacing:
            has_news = (sample.counted, sample.landmarks) != (base.counted, base.landmarks)
            return spacing - passed if has_news else 0.0
        for mark in find_marks(base, sample):
            add_mark(self.marks, mark)
        self.marks = [mark for mark in self.marks if mark.at > sample.at - KEPT]
        is_next = base is not None and 0 <= passed < GAP
        if not sample.is_saturated:
            self.saturated_since = None
        elif self.saturated_since is None or not is_next:
            self.saturated_since = sample.at
        if passed < 0:
            self._forget_future(sample.at)
        origin = self._origin(sample)
        self.base = sample
        if origin is not None:
            row, counts = difference(origin, sample)
            self.add_point(read_row(row.pack(), 0), counts)
        self.advance(sample.at)
        return 0.0

    def _origin(self, sample: Sample) -> Sample | None:
        """Return what the numbers of a sample go on from: the last one, or the pool's beginning; None after a gap."""
        base = self.base
        if base is not None and is_same_count(base, sample):
            return base if 0 < sample.at - base.at < GAP else None
        if base is not None and sample.start <= base.start:
            return None
        begun = beginning(sample, base.at if base is not None else 0.0)
        return begun if 0 < sample.at - begun.at < GAP else None

    def add_point(self, row: Row, counts: bytes) -> None:
        """Take a point as it is kept."""
        self.fine.append(row, counts)
        for window in self._windows:
            window.add(row, counts)
            window.length += window.tier is self.fine
        if self._to_middle is not None and _is_apart(self._to_middle, row, MIDDLE):
            self._end_middle()
        self._to_middle = self._to_middle or Merged()
        self._to_middle.add(row, counts)

    def advance(self, now: float) -> None:
        """Let go of what is too old at `now` (epoch seconds)."""
        if self._to_middle is not None and now - self._to_middle.at > GAP:
            self._end_middle()
        for window in self._windows:
            window.advance(now)

    def refill(self, coarse: Iterable[Point], middle: Sequence[Point], fine: Sequence[Point] = ()) -> None:
        """Begin anew with these points, each the oldest first; short windows make do with middle ones."""
        self._clear()
        for point in coarse:
            self.coarse.append(*point)
        known = self.coarse.row(-1).at if len(self.coarse) else 0.0
        for row, counts in middle:
            for window in self.middle.windows:
                window.add(row, counts)
            self._add_middle(row, counts, merge=row.at > known)
        known = self.middle.row(-1).at if len(self.middle) else 0.0
        first = fine[0][0].start + min(TOLERANCE, fine[0][0].span / 2) if fine else known
        early = [point for point in middle if known - FINE_WINDOW < point[0].at <= first]
        for row, counts in (*early, *fine):
            if row.at > known:
                self.add_point(row, counts)
                continue
            self.fine.append(row, counts)
            for window in self.fine.windows:
                window.add(row, counts)
                window.length += 1

    def _forget_future(self, now: float) -> None:
        """Somebody has set the clock back: what has not been yet was never."""
        tiers = (self.coarse, self.middle, self.fine)
        kept = [[point for point in tier.points() if point[0].at <= now] for tier in tiers]
        self.marks = [mark for mark in self.marks if mark.at <= now]
        self.refill(*kept)

    def _end_middle(self) -> None:
        if self._to_middle is not None:
            row, counts = self._to_middle.as_point()
            self._to_middle = None
            self._add_middle(row, counts)

    def _add_middle(self, row: Row, counts: bytes, *, merge: bool = True) -> None:
        self._brief = None
        self.middle.append(row, counts)
        for window in self.middle.windows:
            window.length += 1
        if not merge:
            return
        if self._to_coarse is not None and _is_apart(self._to_coarse, row, COARSE):
            self.coarse.append(*self._to_coarse.as_point())
            self._to_coarse = None
        self._to_coarse = self._to_coarse or Merged()
        self._to_coarse.add(row, counts)

    # ---------------------------------------------------------------- telling

    def recent(self, sample: Sample) -> Recent:
        """Return what was counted of late, until `sample`, which need not be one that was added."""
        self.advance(sample.at)
        origin, ahead = self._origin(sample), Total()
        if origin is not None:
            ahead.add(*difference(origin, sample))
        since = None
        if sample.is_saturated:
            since = sample.at if self.saturated_since is None else min(self.saturated_since, sample.at)
        return Recent(self._rate(sample.at, ahead), tuple(_look(one, ahead) for one in self._windows), since)

    def _rate(self, now: float, ahead: Total) -> float | None:
        requests, span = ahead.requests, ahead.span
        for row in self.fine.backwards():
            if row.middle <= now - RATE_OVER:
                break
            requests, span = requests + row.requests, span + row.span
        return requests / span if span >= RATE_LEAST else None

    def moments(self, now: float) -> tuple[Moment, ...]:
        """Return all points, each time at the finest resolution that is there."""
        fine, middle = list(self.fine.rows()), list(self.middle.rows())
        rows = [row for row in self.coarse.rows() if row.at > now - KEPT]
        for finer in (middle, fine):
            if finer:
                rows = [row for row in rows if row.start < finer[0].start - TOLERANCE]
                end = rows[-1].at - TOLERANCE if rows else 0.0
                rows += [row for row in finer if row.start >= end]
        return tuple(row.as_moment() for row in rows)

    def brief_moments(self) -> tuple[Moment, ...]:
        """Return the last hour, in minutes: of many pools at once, it is cheap enough."""
        if self._brief is None:
            last = [self._to_middle.as_point()[0]] if self._to_middle is not None else []
            self._brief = tuple(_by_minutes([*self.middle.rows(), *last]))
        return self._brief

    def kept_points(self) -> tuple[list[Point], list[Point], list[Point]]:
        """Return what is kept in a file, coarse, middle and fine points: with what is on its way there."""
        coarse, middle = list(self.coarse.points()), list(self.middle.points())
        if self._to_coarse is not None:
            coarse.append(self._to_coarse.as_point())
        if self._to_middle is not None:
            middle.append(self._to_middle.as_point())
        return coarse, middle, list(self.fine.points())


def _is_apart(merged: Merged, row: Row, seconds: int) -> bool:
    """Return whether a point belongs to another merged point than those before it."""
    return row.start > merged.at + TOLERANCE or row.at // seconds != merged.at // seconds


def _look(window: Trailing, ahead: Total) -> Window:
    counted = add_statistics(window.counts.as_statistics(), ahead.counts.as_statistics())
    return Window(
        seconds=window.seconds,
        covered=window.span + ahead.span,
        statistics=counted,
        requests=window.requests + ahead.requests,
        errors=window.errors + ahead.errors,
        slow=window.slow + ahead.slow,
        deaths=window.deaths + ahead.deaths,
    )


def _by_minutes(rows: list[Row]) -> Iterator[Moment]:
    """Merge rows of one minute; of their percentiles the greatest is shown."""
    runs: list[list[Row]] = []
    for row in rows:
        last = runs[-1][-1] if runs else None
        is_next = last is not None and row.at // 60 == last.at // 60 and row.start <= last.at + TOLERANCE
        if is_next:
            runs[-1].append(row)
        else:
            runs.append([row])
    for run in runs:
        merged = Merged()
        for row in run:
            merged.add(row, b"")
        yield merged.as_point()[0]._replace(p95=max(row.p95 for row in run)).as_moment()
