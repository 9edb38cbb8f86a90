"""The axis of time below the charts: a fixed span that ends now, in columns, with ticks at round local times. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import timedelta

from fpm.frozen import dataclass
from fpm.log.times import local_time
from fpm.status.past.recent import Mark, MarkKind

WIDTH = 600
"""Of the drawing in its own units; it is stretched to any width."""
SPANS = {"1h": 3600, "6h": 6 * 3600}
"""Seconds that a chart may show, by the words in the address of the page."""
EDGE = 0.04
"""Where a chart is as wide as the page, or as a phone."""
MARKS_MAX = 60
"""The newest are shown."""
_BAD = frozenset({MarkKind.DEATH, MarkKind.FAILED, MarkKind.RELOAD_FAILED})


@dataclass(frozen=True, slots=True)
class Tick:
    """A round time."""

    percent: str
    """Where it is, of the width."""
    label: str
    """As in "14:10"; "" where it would be cut off."""


@dataclass(frozen=True, slots=True)
class PlacedMark:
    """Something that has happened, and where it is on the axis."""

    percent: str
    mark: Mark

    @property
    def is_bad(self) -> bool:
        """Return whether something has gone wrong."""
        return self.mark.kind in _BAD


@dataclass(frozen=True, slots=True)
class Axis:
    """Columns of the same length in seconds. They begin at whole multiples of it, so they keep what they have shown."""

    begin: float
    """Epoch seconds."""
    end: float
    first: float
    """When the first column begins; not after `begin`."""
    step: float
    """Seconds of a column."""
    edges: tuple[str, ...]
    """Where the columns begin, and where the last one ends, in units of WIDTH."""
    ticks: tuple[Tick, ...]
    grid: str
    """A path of lines at the ticks."""

    @property
    def columns(self) -> int:
        """Return how many columns there are."""
        return len(self.edges) - 1

    def place(self, marks: Iterable[Mark]) -> list[PlacedMark]:
        """Place the marks that lie on the axis."""
        return place_marks(marks, self.begin, self.end)

    @property
    def ends(self) -> tuple[str, str]:
        """Return when it begins and ends, as in "13:10"."""
        return f"{local_time(self.begin):%H:%M}", f"{local_time(self.end):%H:%M}"


def place_marks(marks: Iterable[Mark], begin: float, end: float) -> list[PlacedMark]:
    """Place the marks that lie between two times."""
    inside = [mark for mark in marks if begin <= mark.at <= end]
    return [PlacedMark(_percent((mark.at - begin) / (end - begin)), mark) for mark in inside[-MARKS_MAX:]]


def make_axis(now: float, span: int, columns: int, tick: int, edge: float = EDGE) -> Axis:
    """Make the axis of the last `span` seconds.

    Args:
        tick: seconds between two ticks.
        edge: part of the width at each end that has no room for the middle of a label.
    """
    begin, step = now - span, span / columns
    first = math.floor(begin / step) * step
    count = math.ceil((now - first) / step)
    places = [(first + number * step - begin) / span for number in range(count + 1)]
    edges = tuple([f"{min(max(place, 0.0), 1.0) * WIDTH:.4g}" for place in places])
    ticks = [(at - begin) / span for at in _round_times(begin, now, tick)]
    return Axis(
        begin,
        now,
        first,
        step,
        edges,
        tuple(
            [
                Tick(_percent(place), _label(begin + place * span) if edge <= place <= 1 - edge else "")
                for place in ticks
            ]
        ),
        "".join([f"M{place * WIDTH:.4g} 0V999" for place in ticks]),
    )


def _round_times(begin: float, end: float, step: int) -> Sequence[float]:
    offset = (local_time(end).utcoffset() or timedelta()).total_seconds()
    first = math.ceil((begin + offset) / step) * step - offset
    return [first + number * step for number in range(int((end - first) // step) + 1)]


def _label(at: float) -> str:
    return f"{local_time(round(at)):%H:%M}"


def _percent(part: float) -> str:
    return f"{part * 100:.4g}%"
