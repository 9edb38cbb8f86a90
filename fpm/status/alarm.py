"""Whether a pool is in order for a monitor: OK, WARNING, CRITICAL or UNKNOWN, by thresholds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum

from fpm.frozen import dataclass
from fpm.scoreboard.numbers import PoolNumbers
from fpm.status.thresholds import Range, parse_range
from fpm.status.trouble import is_saturated

RESPONSES_MIN = 20
"""The share of 5xx is told of so many responses at least: one of three is no 33 %."""


class State(IntEnum):
    """What a plugin reports; the number is its exit status."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


PASSING = frozenset({"starting", "stopping"})
"""States that are over soon."""

Values = Mapping[str, float]
"""The numbers of a pool's short status page in JSON, by its keys."""


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that a threshold can be given for."""

    words: str | Callable[[Values, str], str]
    """With the value, in a sentence about the pool."""
    unit: str
    """Of performance data: %, s, or nothing."""
    of: Callable[[Values], float | None]
    """None: not known."""
    most: Callable[[Values], float | None] = lambda values: None
    """The largest value that there can be."""


def _lately(values: Values, key: str) -> float | None:
    return values.get(f"{key} 5m")


def _p95(values: Values) -> float | None:
    duration = _lately(values, "p95")
    return None if duration is None else duration / 1e6


def _failures(values: Values) -> float | None:
    failures, requests = _lately(values, "5xx"), _lately(values, "requests")
    if failures is None or requests is None:
        return None
    return min(100 * failures / max(requests, RESPONSES_MIN), 100.0)


def _failures_said(values: Values, share: str) -> str:
    failures, requests = values.get("5xx 5m", 0), values.get("requests 5m", 0)
    # The share that counts is a smaller one than that which everybody can reckon.
    few = f" ({failures:.0f} of {requests:.0f}, which count as {RESPONSES_MIN})" if requests < RESPONSES_MIN else ""
    return f"{share} % of its responses are 5xx{few}"


def _errors(values: Values) -> float | None:
    errors = _lately(values, "errors")
    return None if errors is None else errors / 5


MEASURES = {
    "busy": Measure("{} % of its workers are busy", "%", lambda values: values.get("busy percent"), lambda _: 100),
    "queue": Measure(
        "waiting requests: {}",
        "",
        lambda values: values.get("listen queue"),
        lambda values: values.get("listen queue len") or None,
    ),
    "p95": Measure("p95 is {} s", "s", _p95),
    "5xx": Measure(_failures_said, "%", _failures, lambda _: 100),
    "errors": Measure("exceptions a minute: {}", "", _errors),
    "deaths": Measure("workers that died in 5 minutes: {}", "", lambda values: _lately(values, "deaths")),
    "background": Measure(
        "work after a response has gone on for {} s", "s", lambda values: values.get("background oldest")
    ),
}
"""By their names in --warning and --critical. What is counted is that of the last five minutes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The thresholds, by the names of MEASURES."""

    warning: Mapping[str, Range]
    critical: Mapping[str, Range]


DEFAULT_WARNING = {"5xx": parse_range("5"), "deaths": parse_range("0")}
DEFAULT_CRITICAL = {"5xx": parse_range("20")}


def parse_limits(warning: Iterable[str], critical: Iterable[str]) -> Limits:
    """Parse `NAME=RANGE` of a command line; they take the place of the defaults.

    Raises:
        ValueError: one of them is none.
    """
    return Limits(DEFAULT_WARNING | dict(_parse(warning)), DEFAULT_CRITICAL | dict(_parse(critical)))


def _parse(given: Iterable[str]) -> Iterator[tuple[str, Range]]:
    for text in given:
        name, equals, range_ = text.partition("=")
        if not equals or name not in MEASURES:
            raise ValueError(f"'{text}' is no threshold: write NAME=RANGE, with one of {', '.join(MEASURES)}")
        yield name, parse_range(range_)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of a pool at the moment of a check."""

    name: str
    state: str
    """"" if it can serve, else why not: failed, stopping ..."""
    values: Values


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a pool is."""

    reading: Reading
    state: State
    reasons: Sequence[str]
    """The worst first; empty if all is well."""


def judge_pool(reading: Reading, limits: Limits) -> Verdict:
    """Judge one pool."""
    found = sorted(_complaints(reading, limits), key=lambda one: -one[0])
    return Verdict(reading, found[0][0] if found else State.OK, [text for _, text in found])


def _complaints(reading: Reading, limits: Limits) -> Iterator[tuple[State, str]]:
    values = reading.values
    if values.get("failed"):
        yield State.CRITICAL, "its application does not start"
    elif reading.state:
        yield State.WARNING if reading.state in PASSING else State.CRITICAL, f"is {reading.state}"
    if is_saturated(_occupied(values)):
        yield (
            State.WARNING,
            f"saturated: all {values['active processes']:.0f} workers busy, {values['listen queue']:.0f} requests wait",
        )
    for name, measure in MEASURES.items():
        value = measure.of(values)
        for state, ranges in ((State.CRITICAL, limits.critical), (State.WARNING, limits.warning)):
            if value is not None and name in ranges and ranges[name].alerts(value):
                yield state, _say(measure, values, show_value(value))
                break


def _say(measure: Measure, values: Values, shown: str) -> str:
    return measure.words.format(shown) if isinstance(measure.words, str) else measure.words(values, shown)


def _occupied(values: Values) -> PoolNumbers:
    numbers = PoolNumbers()
    numbers.max_children = int(values.get("children limit", 0))
    numbers.active, numbers.idle = int(values.get("active processes", 0)), int(values.get("idle processes", 0))
    numbers.listen_queue = int(values.get("listen queue", 0))
    return numbers


SMALL = 0.1


def show_value(value: float) -> str:
    """Return a number with up to three decimals; of a small one microseconds are shown, too."""
    return f"{value:.{3 if abs(value) >= SMALL else 6}f}".rstrip("0").rstrip(".")


def worst_first(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Order pools, those with the same state as they come."""
    return sorted(verdicts, key=lambda one: -one.state)
