"""What was measured, as values, and what follows from them. Pure.

A case has a sample for each round, measure and server. A ratio is taken of two samples of the same round, which were
measured one after the other; what is said of it is the median over the rounds, with the least and the greatest.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Samples = dict[str, dict[str, list[float]]]
"""Server, measure, rounds."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number that is taken.

    Attributes:
        unit: of the samples as they are kept.
        more_is_better: else less is.
    """

    title: str
    unit: str
    more_is_better: bool = False


MEASURES = {
    "cpu": Measure("CPU per request", "µs"),
    "user": Measure("of it user", "µs"),
    "system": Measure("system", "µs"),
    "master": Measure("master's CPU", "%"),
    "rate": Measure("requests/s", "/s", more_is_better=True),
    "throughput": Measure("throughput", "MB/s", more_is_better=True),
    "p50": Measure("p50", "ms"),
    "p99": Measure("p99", "ms"),
    "first": Measure("first byte", "ms"),
    "last": Measure("last answer", "ms"),
    "peak": Measure("peak of a process", "MB"),
    "grown": Measure("grown by", "MB"),
    "rss": Measure("RSS", "MB"),
    "pss": Measure("PSS", "MB"),
    "alone": Measure("a worker alone", "MB"),
    "master_pss": Measure("master's PSS", "MB"),
    "woken": Measure("master woken", "/s"),
    "ready": Measure("ready after", "s"),
    "reload": Measure("a reload takes", "s"),
    "idle": Measure("CPU while idle", "ms/s"),
    "import": Measure("the app's import", "ms"),
    "request": Measure("its first request", "ms"),
    "failed": Measure("failed", ""),
}


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some numbers, and how far they reach."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Of at least one number."""
    return Spread(statistics.median(values), min(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread | None:
    """Round by round; None if there is nothing to divide."""
    pairs = [our / their for our, their in zip(ours, theirs, strict=False) if their > 0]
    return spread(pairs) if pairs else None


@dataclass
class Result:
    """A case, measured.

    Attributes:
        case: its short name.
        title: what was asked, how, of whom.
        samples: the first server is the one that others are compared with.
        measures: the ones to show, the main one first.
        notes: sentences about this run: who is missing, what failed.
    """

    case: str
    title: str
    measures: tuple[str, ...]
    samples: Samples = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, server: str, **measured: float) -> None:
        """A round of one server."""
        of_server = self.samples.setdefault(server, {})
        for name, value in measured.items():
            of_server.setdefault(name, []).append(value)

    def note(self, text: str) -> None:
        """A sentence, once."""
        if text not in self.notes:
            self.notes.append(text)

    def get(self, server: str, measure: str) -> list[float]:
        """The samples; empty if the server did not take part."""
        return self.samples.get(server, {}).get(measure, [])

    def ratio(self, measure: str, ours: str, theirs: str) -> Spread | None:
        """One server's measure beside another's."""
        return ratio(self.get(ours, measure), self.get(theirs, measure))


@dataclass
class Run:
    """Everything that one `make bench` has measured. `environment` has date, machine, kernel, versions."""

    environment: Mapping[str, str]
    results: list[Result] = field(default_factory=list)

    def case(self, name: str) -> Result | None:
        """The result of one case."""
        return next((one for one in self.results if one.case == name), None)

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {"environment": dict(self.environment), "cases": [asdict(one) for one in self.results]}


def run_from_json(data: Mapping[str, Any]) -> Run:
    """What `as_json` made."""
    results = [Result(**{**one, "measures": tuple(one["measures"])}) for one in data["cases"]]
    return Run(data["environment"], results)
