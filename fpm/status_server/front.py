"""What the pages are asked for, and which pools the first one shows, in which order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

from fpm.frozen import dataclass
from fpm.status.overview import Pool
from fpm.status.past.recent import Window
from fpm.status.trouble import BADGES, Trouble, judge, lately
from fpm.status_server.axis import SPANS

Number = TypeVar("Number", int, float)
TEXT_MAX = 100
"""Characters of a filter."""
STATES: Mapping[Trouble, str] = {**BADGES, Trouble.NONE: "serving", Trouble.IDLE: "idle"}
"""The words by which pools are counted and filtered."""
PARAMETERS_MAX = 20


@dataclass(frozen=True, slots=True)
class Filter:
    """Which pools somebody wants to see; "": all."""

    text: str = ""
    """Part of the name or of the application."""
    state: str = ""
    """One of STATES."""

    def link(self, state: str) -> str:
        """Write the address of the same page for this state."""
        wanted = [(name, value) for name, value in (("q", self.text), ("state", state)) if value]
        return f"?{urlencode(wanted, errors='replace')}"


@dataclass(frozen=True, slots=True)
class Line:
    """A pool, and what is to be said of it."""

    pool: Pool
    trouble: Trouble
    lately: Window | None
    """The last five minutes, if somebody has counted."""

    @property
    def since(self) -> float | None:
        """Return since when it has been so, epoch seconds; None: nobody knows."""
        if self.trouble is Trouble.FAILED:
            return self.pool.numbers.failed_since or None
        if self.trouble is Trouble.SATURATED and self.pool.recent is not None:
            return self.pool.recent.saturated_since
        return None

    @property
    def p95(self) -> float | None:
        """Return the seconds that 95 % of the responses did not exceed."""
        return None if self.lately is None else self.lately.response_time(0.95)

    @property
    def failures(self) -> int | None:
        """Return the responses of class 5xx."""
        return None if self.lately is None else self.lately.failures

    @property
    def errors(self) -> int | None:
        """Return the uncaught exceptions."""
        return None if self.lately is None else self.lately.errors


@dataclass(frozen=True, slots=True)
class Total:
    """The sums over all pools; None: not known of any."""

    pools: int
    workers: int
    busy: int
    rate: float | None
    queue: int
    failures: int | None
    errors: int | None
    memory: int | None


@dataclass(frozen=True, slots=True)
class Front:
    """All that the page shows."""

    wanted: Filter
    counts: tuple[tuple[str, int], ...]
    """How many of all pools are in each state, the worst first; only those that there are."""
    lines: tuple[Line, ...]
    """Those that somebody may have to look at, the worst first."""
    idle: tuple[Line, ...]
    total: Total
    """Of all pools, whatever is wanted."""

    @property
    def is_urgent(self) -> bool:
        """Return whether a pool has failed or is saturated, shown or not."""
        return any(word in (BADGES[Trouble.FAILED], BADGES[Trouble.SATURATED]) for word, _ in self.counts)

    @property
    def failed(self) -> list[Pool]:
        """Return the pools that have failed."""
        return [line.pool for line in self.lines if line.trouble is Trouble.FAILED]


def read_filter(query: str) -> Filter:
    """Read which pools are wanted from a query string, in which anything may stand."""
    given = _parameters(query)
    state = given.get("state", "")
    return Filter(given.get("q", "").strip()[:TEXT_MAX], state if state in STATES.values() else "")


def read_span(query: str) -> str:
    """Read over which of SPANS the charts of a pool are wanted; the first where it is none."""
    span = _parameters(query).get("span", "")
    return span if span in SPANS else next(iter(SPANS))


def _parameters(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, errors="replace", max_num_fields=PARAMETERS_MAX))
    except ValueError:  # too many
        return {}


def make_line(pool: Pool) -> Line:
    """Judge a pool."""
    return Line(pool, judge(pool), lately(pool))


def add_up(lines: Sequence[Line]) -> Total:
    """Add up what is known of the pools."""
    return Total(
        pools=len(lines),
        workers=sum(line.pool.numbers.total for line in lines),
        busy=sum(line.pool.numbers.active for line in lines),
        rate=_total(rate_of(line.pool) for line in lines),
        queue=sum(line.pool.numbers.listen_queue for line in lines),
        failures=_total(line.failures for line in lines),
        errors=_total(line.errors for line in lines),
        memory=_total(line.pool.numbers.memory_pss for line in lines),
    )


def rate_of(pool: Pool) -> float | None:
    """Return requests a second over the last moments; None: not known."""
    return pool.rate if pool.recent is None else pool.recent.rate


def _total(values: Iterable[Number | None]) -> Number | None:
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known else None


def make_front(pools: Sequence[Pool], wanted: Filter) -> Front:
    """Order pools by their trouble, and take those that are wanted."""
    lines = sorted(map(make_line, pools), key=lambda line: line.trouble)
    counts = dict.fromkeys(STATES, 0)
    for line in lines:
        counts[line.trouble] += 1
    text = wanted.text.casefold()
    shown = [
        line
        for line in lines
        if wanted.state in ("", STATES[line.trouble])
        and (not text or text in line.pool.name.casefold() or text in line.pool.app.casefold())
    ]
    return Front(
        wanted,
        tuple([(STATES[trouble], count) for trouble, count in counts.items() if count]),
        tuple([line for line in shown if line.trouble is not Trouble.IDLE]),
        tuple([line for line in shown if line.trouble is Trouble.IDLE]),
        add_up(lines),
    )
