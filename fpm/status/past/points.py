"""Points of a pool's history, packed in rows of a fixed size, and what adds them up. Pure."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import NamedTuple

from fpm.scoreboard.buckets import percentile
from fpm.status.past.counts import Sums, pack_counts
from fpm.status.past.recent import Moment

ROW = struct.Struct("<dfHHIIIIIIf")
_BUSY_MAX = 2**16 - 1
_COUNT_MAX = 2**32 - 1
P95 = 0.95


class Row(NamedTuple):
    """One point; it covers the `span` seconds before `at`."""

    at: float
    """Epoch seconds."""
    span: float
    idle: int
    active: int
    queue: int
    requests: int
    errors: int
    slow: int
    deaths: int
    failures: int
    """Responses of class 5xx."""
    p95: float
    """Seconds; negative without responses."""

    @property
    def start(self) -> float:
        """Return when the time that it covers began."""
        return self.at - self.span

    @property
    def middle(self) -> float:
        """Return the middle of it, which decides whether the point belongs to a window."""
        return self.at - self.span / 2

    def pack(self) -> bytes:
        """Return its bytes; what does not fit becomes the most that does."""
        workers = (min(self.idle, _BUSY_MAX), min(self.active, _BUSY_MAX))
        counted = (min(number, _COUNT_MAX) for number in self[4:10])
        return ROW.pack(self.at, self.span, *workers, *counted, self.p95)

    def as_moment(self) -> Moment:
        """Return what is shown of it."""
        span = self.span
        p95 = None if self.p95 < 0 else self.p95
        rate, failures = self.requests / span, self.failures / span
        return Moment(self.at, self.idle, self.active, self.queue, rate, span, failures, p95)


def read_row(data: bytes | bytearray, offset: int) -> Row:
    """Read a row of bytes that `Row.pack` has made."""
    return Row._make(ROW.unpack_from(data, offset))


def check_row(row: Row) -> bool:
    """Return whether it can be true, as bytes of a file may be anything."""
    times = (row.at, row.span, row.p95)
    return all(map(math.isfinite, times)) and 0 < row.span < 1e6 and 0 < row.at < 1e11 and row.p95 < 1e6


class Tier:
    """The last points at one resolution, the oldest first, with what was counted in each."""

    __slots__ = ("_rows", "_size", "counts", "windows")

    def __init__(self, size: int, *, keeps_counts: bool = True) -> None:
        """
        Args:
            size: how many points it keeps.
            keeps_counts: not only their rows.
        """
        self._size = size
        self._rows = bytearray()
        self.counts: list[bytes] | None = [] if keeps_counts else None
        self.windows: list[Trailing] = []

    def __len__(self) -> int:
        return len(self._rows) // ROW.size

    def append(self, row: Row, counts: bytes) -> None:
        """Add a point; the oldest one goes if there are too many."""
        if len(self) >= self._size:
            for window in self.windows:
                window.leave_first()
            del self._rows[: ROW.size]
            if self.counts is not None:
                del self.counts[0]
        self._rows += row.pack()
        if self.counts is not None:
            self.counts.append(counts)

    def row(self, index: int) -> Row:
        """Return one of them; negative from the end."""
        return read_row(self._rows, (index if index >= 0 else len(self) + index) * ROW.size)

    def rows(self) -> Iterator[Row]:
        """Yield all of them."""
        return map(Row._make, ROW.iter_unpack(self._rows))

    def backwards(self) -> Iterator[Row]:
        """Yield all of them, the newest first."""
        return (read_row(self._rows, at) for at in range(len(self._rows) - ROW.size, -1, -ROW.size))

    def points(self) -> Iterator[tuple[Row, bytes]]:
        """Yield all of them with their counts."""
        return zip(self.rows(), self.counts if self.counts is not None else [b""] * len(self), strict=True)


class Total:
    """What has been counted in several points together."""

    __slots__ = ("counts", "deaths", "errors", "requests", "slow", "span")

    def __init__(self) -> None:
        self.span = 0.0
        self.requests = self.errors = self.slow = self.deaths = 0
        self.counts = Sums()

    def add(self, row: Row, counts: bytes, sign: int = 1) -> None:
        """Add a point, or take it away."""
        self.span += sign * row.span
        self.requests += sign * row.requests
        self.errors += sign * row.errors
        self.slow += sign * row.slow
        self.deaths += sign * row.deaths
        self.counts.add(counts, sign)


class Trailing(Total):
    """What has been counted in the last so many seconds: it goes with time, so nobody has to add up an hour."""

    __slots__ = ("length", "seconds", "tier")

    def __init__(self, tier: Tier, seconds: int) -> None:
        """
        Args:
            tier: where the points are by which it forgets.
        """
        super().__init__()
        self.seconds = seconds
        self.length = 0
        """How many points of the tier are in it; maybe more than those, as the newest of them are not there yet."""
        self.tier = tier
        tier.windows.append(self)

    def advance(self, now: float) -> None:
        """Forget what is too old now: a point belongs to the time of its middle."""
        while self.length and self.tier.row(-self.length).middle <= now - self.seconds:
            self._leave(self.length)

    def leave_first(self) -> None:
        """Forget the tier's first point, as it will be gone."""
        if self.length == len(self.tier):
            self._leave(self.length)

    def _leave(self, from_end: int) -> None:
        assert self.tier.counts is not None
        self.add(self.tier.row(-from_end), self.tier.counts[-from_end], -1)
        self.length -= 1


class Merged(Total):
    """Points of a finer tier on their way to becoming one of a coarser tier."""

    __slots__ = ("active", "at", "failures", "idle", "queue")

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.0
        self.idle = self.active = self.queue = self.failures = 0

    def add(self, row: Row, counts: bytes, sign: int = 1) -> None:
        """Add the next point."""
        super().add(row, counts, sign)
        self.at = row.at
        if row.active >= self.active:
            self.active, self.idle = row.active, row.idle
        self.queue = max(self.queue, row.queue)
        self.failures += row.failures

    def as_point(self) -> tuple[Row, bytes]:
        """Return all as one point."""
        counted = self.counts.as_statistics()
        p95 = percentile(counted.response.counts, P95)
        numbers = (self.requests, self.errors, self.slow, self.deaths, self.failures)
        row = Row(self.at, self.span, self.idle, self.active, self.queue, *numbers, -1.0 if p95 is None else p95)
        return row, pack_counts(counted)
