"""The past of pools as bytes: what the status process hands to `pyfpm status`, `top` and `explain`.

That process talks to the network, so who reads believes nothing of it unchecked. Pure.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from fpm.frozen import dataclass
from fpm.scoreboard.number import COUNT_MAX
from fpm.status.overview import Pool
from fpm.status.past.counts import Sums, check_counts, pack_counts
from fpm.status.past.history import with_wait
from fpm.status.past.recent import WINDOWS, Mark, MarkKind, Moment, Recent, Window

PAST_MAX = 32 * 1024 * 1024
"""Bytes that are read at most."""
MOMENTS_MAX = 1000
MARKS_MAX = 100
TEXT_MAX = 400
"""Characters of a mark."""
TIME_MAX = 1e11
"""Epoch seconds that can be true, and whatever else is a number of seconds or a rate."""


@dataclass(frozen=True, slots=True)
class Past:
    """What there is to say of one pool's past."""

    recent: Recent
    moments: tuple[Moment, ...]
    marks: tuple[Mark, ...]


def pack_past(pools: Iterable[Pool], *, points: bool) -> bytes:
    """Pack what is known of the past of these pools.

    Args:
        points: their moments, too.
    """
    packed = {pool.name: _pack(pool, pool.recent, points) for pool in pools if pool.recent is not None}
    return json.dumps(packed).encode()


def _pack(pool: Pool, recent: Recent, points: bool) -> dict[str, Any]:
    return {
        "rate": recent.rate,
        "saturated_since": recent.saturated_since,
        "windows": [
            [one.covered, one.requests, one.errors, one.slow, one.deaths, _counts(one)] for one in recent.windows
        ],
        "moments": [
            [one.at, one.idle, one.active, one.queue, one.rate, one.span, one.failures, one.p95]
            for one in (pool.history if points else ())
        ],
        "marks": [[mark.at, mark.kind.value, mark.text] for mark in pool.marks],
    }


def _counts(window: Window) -> str:
    return b64encode(pack_counts(window.statistics)).decode()


def read_past(data: bytes) -> dict[str, Past]:
    """Read it, by the names of the pools.

    Raises:
        ValueError: these bytes are something else.
    """
    try:
        found = json.loads(data)
        return {name: _read(values) for name, values in found.items()}
    except (TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"this is no past of pools: {error!r}") from error


def _read(values: Mapping[str, Any]) -> Past:
    windows = values["windows"]
    marks, moments = values["marks"][:MARKS_MAX], values["moments"][:MOMENTS_MAX]
    recent = Recent(
        rate=_optional(values["rate"]),
        windows=tuple(_window(seconds, *one) for seconds, one in zip(WINDOWS, windows, strict=True)),
        saturated_since=_optional(values["saturated_since"]),
    )
    return Past(recent, tuple(_moment(*one) for one in moments), tuple(_mark(*one) for one in marks))


def _window(seconds: int, covered: Any, requests: Any, errors: Any, slow: Any, deaths: Any, counts: Any) -> Window:
    sums = Sums()
    sums.add(check_counts(b64decode(counts, validate=True)))
    numbers = map(_count, (requests, errors, slow, deaths))
    return Window(seconds, _seconds(covered), sums.as_statistics(), *numbers)


def _moment(at: Any, idle: Any, active: Any, queue: Any, rate: Any, span: Any, failures: Any, p95: Any) -> Moment:
    workers = (_count(idle), _count(active), _count(queue))
    return Moment(_seconds(at), *workers, _seconds(rate), _seconds(span), _seconds(failures), _optional(p95))


def _mark(at: Any, kind: Any, text: Any) -> Mark:
    return Mark(_seconds(at), MarkKind(kind), str(text)[:TEXT_MAX])


def _count(value: Any) -> int:
    return min(max(int(value), 0), COUNT_MAX)


def _seconds(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a number is none")
    return min(max(number, 0.0), TIME_MAX)


def _optional(value: Any) -> float | None:
    return None if value is None else _seconds(value)


def with_past(pool: Pool, past: Past | None) -> Pool:
    """Return the pool with its past, if that is known."""
    if past is None:
        return with_wait(pool)
    recent = past.recent
    return with_wait(replace(pool, rate=recent.rate, recent=recent, history=past.moments, marks=past.marks))
