"""What pyfpm is to reach, as data, and whether it does. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bench.peers import FLOOR, GUNICORN, PHP, PLAIN, PLAIN_UNCOUNTED, PRELOAD, PYFPM, UNCOUNTED, UWSGI, UWSGI_FASTCGI
from bench.results import MEASURES, Result, Spread, spread


@dataclass(frozen=True, slots=True)
class Target:
    """A limit for a measure of a case.

    Attributes:
        limit: of the ratio to `peer`; without a peer, of the number itself. Where more is better it is the least
            that is wanted, else the most that is allowed.
        beyond: a measure that adds to the limit (an import takes what it takes).
    """

    case: str
    measure: str
    limit: float
    peer: str | None = None
    ours: str = PYFPM
    beyond: str | None = None

    def judge(self, result: Result) -> Verdict | None:
        """None if this run has not measured it."""
        samples = result.get(self.ours, self.measure)
        found = result.ratio(self.measure, self.ours, self.peer) if self.peer else spread(samples) if samples else None
        if found is None:
            return None
        extra = spread(result.get(self.ours, self.beyond)).median if self.beyond else 0.0
        limit = self.limit + extra
        met = found.median >= limit if MEASURES[self.measure].more_is_better else found.median <= limit
        return Verdict(self, found, limit, met)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found beside what was wanted."""

    target: Target
    found: Spread
    limit: float
    met: bool


def _both(case: str, measure: str, peer: str | None, compiled: float, plain: float | None) -> list[Target]:
    targets = [Target(case, measure, compiled, peer)]
    return [*targets, Target(case, measure, plain, peer, PLAIN)] if plain is not None else targets


def not_kept(name: str) -> str:
    """The label of a server in the cases of kept connections, when its own are not kept."""
    return f"{name}, not kept"


TARGETS: list[Target] = [
    *_both("hello", "cpu", UWSGI_FASTCGI, 0.75, 1.2),
    *_both("hello", "cpu", UWSGI, 0.95, None),
    *_both("hello", "cpu", PHP, 0.6, 1.0),
    *_both("hello", "cpu", GUNICORN, 0.25, 0.45),
    *_both("hello", "cpu", FLOOR, 2.0, None),
    *_both("hello", "master", None, 1.0, 1.0),
    *_both("headers", "cpu", UWSGI_FASTCGI, 0.8, 1.3),
    Target("hello-kept", "cpu", 0.7, not_kept(PYFPM)),
    Target("hello-kept", "cpu", 0.7, not_kept(PLAIN), PLAIN),
    Target("hello-kept-more", "cpu", 1.0, not_kept(PYFPM)),
    Target("hello-kept-more", "cpu", 1.0, not_kept(PLAIN), PLAIN),
    Target("hello-64", "rate", 1.0, UWSGI),
    Target("hello-64", "rate", 2.0, GUNICORN),
    *(Target(case, "cpu", 1.0, UWSGI) for case in ("chunks", "down-10m", "file-10m", "up-10m")),
    *(Target(case, "throughput", 1.0, UWSGI) for case in ("down-10m", "file-10m", "up-10m")),
    *(Target(case, "grown", 2.0) for case in ("down-1g", "file-1g", "up-1g")),
    *_both("django", "cpu", UWSGI, 1.0, 1.05),
    *_both("flask", "cpu", UWSGI, 1.0, 1.05),
    *_both("latency", "p99", UWSGI, 1.0, 1.2),
    *_both("burst", "last", None, 700.0, 700.0),
    Target("wake-warm", "first", 10.0),
    Target("wake-cold", "first", 80.0, beyond="import"),
    Target("memory", "pss", 0.9, PRELOAD),
    Target("pools", "rss", 40.0),
    Target("pools", "ready", 1.0),
    *(
        Target(f"routes-{paths}", "cpu", 1.03, peer, ours)
        for paths in ("same", "number", "uuid", "new")
        for ours, peer in ((PYFPM, UNCOUNTED), (PLAIN, PLAIN_UNCOUNTED))
    ),
]


def verdicts(result: Result) -> list[Verdict]:
    """Those of one case."""
    found = (target.judge(result) for target in TARGETS if target.case == result.case)
    return [one for one in found if one is not None]
