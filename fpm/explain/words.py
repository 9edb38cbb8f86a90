"""From facts to a paragraph: the worst first, with the figures that qualify it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from fpm.explain import judge_busy, judge_ends, judge_exceptions, judge_figures, judge_starts
from fpm.explain.facts import Facts
from fpm.explain.finding import Finding, Urgency, as_values, in_order
from fpm.explain.sights import make_sights
from fpm.frozen import dataclass
from fpm.log.times import local_time
from fpm.scoreboard.buckets import percentile
from fpm.status.figures import format_age, format_percentile, format_rate
from fpm.status.past.recent import MarkKind

JUDGES = (
    *judge_starts.JUDGES,
    *judge_ends.JUDGES,
    *judge_exceptions.JUDGES,
    *judge_busy.JUDGES,
    *judge_figures.JUDGES,
)
"""All of them, each for kinds of trouble of its own."""
PARTS = 3
"""Findings about busy workers that are told among the figures."""
SENTENCES = 3
"""Other findings that are told."""
UNMARKED = 10.0
"""Seconds in which a deploy may have no mark in the history yet."""
P95 = 0.95
DAY = 86400.0
_STATES = {
    Urgency.BROKEN: "is down",
    Urgency.SATURATED: "is saturated",
    Urgency.FAILING: "is failing requests",
    Urgency.SLOW: "is slow",
    Urgency.ATTENTION: "needs attention",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is wrong with a pool. Texts are not escaped."""

    pool: str
    paragraph: str
    """One paragraph in plain words."""
    findings: tuple[Finding, ...]
    """The worst first."""

    @property
    def is_trouble(self) -> bool:
        """Tell whether something is wrong."""
        return any(finding.is_trouble for finding in self.findings)


def explain_pool(facts: Facts) -> Explanation:
    """Say what is wrong with a pool, or that nothing is; `sights` are made here if they are missing."""
    if not facts.sights:
        facts = replace(facts, sights=make_sights(facts.pool, facts.looks))
    findings = in_order(finding for judge in JUDGES for finding in judge(facts))
    return Explanation(facts.pool.name, _paragraph(facts, findings), tuple(findings))


def as_document(explanation: Explanation, facts: Facts) -> dict[str, Any]:
    """Make the JSON document of an explanation, whose fields docs/explain.md describes."""
    numbers = facts.pool.numbers
    return {
        "pool": explanation.pool,
        "ok": not explanation.is_trouble,
        "state": facts.pool.state,
        "at": facts.now,
        "paragraph": explanation.paragraph,
        "findings": [as_values(finding) for finding in explanation.findings],
        "active": numbers.active,
        "max_children": numbers.max_children,
        "queue": numbers.listen_queue,
        "p95": _p95(facts)[0],
        "last_deploy": _last_deploy(facts),
        "looked_at": len(facts.looks),
        "not_looked_at": facts.unseen,
    }


def _paragraph(facts: Facts, findings: Sequence[Finding]) -> str:
    told = [one for one in findings if one.kind != judge_figures.SATURATED]
    parts = [one.part for one in told if one.part][:PARTS]
    others = [one for one in told if not one.part][:SENTENCES]
    figures = ", ".join([_busy(facts), *parts, *_figures(facts)])
    urgent = [one.sentence for one in others if one.urgency is Urgency.BROKEN]
    rest = [_sentence(one.sentence) for one in others if one.urgency is not Urgency.BROKEN]
    head = f"{facts.pool.name} {_state(facts, findings)}: {'; '.join([*urgent, figures])}{_deploy(facts)}."
    left_out = len(told) - len(parts) - len(others)
    more = [f"{left_out} more finding{'s' * (left_out > 1)} below."] if left_out else []
    return " ".join([head, *rest, *more])


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _state(facts: Facts, findings: Sequence[Finding]) -> str:
    troubles = [finding for finding in findings if finding.is_trouble]
    if not troubles:
        return "is fine" if facts.pool.state == "running" else f"is {facts.pool.state}"
    worst = troubles[0].urgency
    since = facts.pool.recent.saturated_since if facts.pool.recent is not None else None
    if worst is Urgency.SATURATED and since is not None and since < facts.now:
        return f"has been saturated for {format_age(facts.now - since)} (since {clock(since, facts.now)})"
    if all(finding.kind == judge_busy.BACKGROUND for finding in troubles):
        return "has background work that does not end"
    return _STATES[worst]


def _busy(facts: Facts) -> str:
    numbers = facts.pool.numbers
    most = f"{numbers.max_children} " if numbers.max_children else ""
    return f"{numbers.active} of {most}worker{'s' * (numbers.max_children != 1)} busy"


def _figures(facts: Facts) -> Iterable[str]:
    yield f"queue {facts.pool.numbers.listen_queue}"
    if facts.pool.rate is not None:
        yield f"{format_rate(facts.pool.rate)} requests a second"
    p95, span = _p95(facts)
    if p95 is not None:
        yield f"p95 {format_percentile(p95)} {span}"


def _p95(facts: Facts) -> tuple[float | None, str]:
    """Return the response time and over which time it is meant."""
    window = facts.lately
    if window is not None:
        return window.response_time(P95), f"in the last {format_age(min(window.covered, window.seconds))}"
    return percentile(facts.pool.statistics.response.counts, P95), "since the start"


def _deploy(facts: Facts) -> str:
    at = _last_deploy(facts)
    return f"; last deploy {clock(at, facts.now)}" if at else ""


def _last_deploy(facts: Facts) -> float | None:
    """Return when the pool got its present code, epoch seconds; None: not since the daemon began, or not known."""
    marks = [mark.at for mark in facts.pool.marks if mark.kind is MarkKind.DEPLOY]
    numbers = facts.pool.numbers
    # A reload of other pools is one of this pool's numbers, too, but no deploy of its own; its own has a mark soon.
    is_unmarked = not marks or facts.now - numbers.last_reload < UNMARKED
    if numbers.last_reload and not numbers.last_reload_failed and numbers.generation > 1 and is_unmarked:
        marks.append(numbers.last_reload)
    return max(marks, default=None)


def clock(moment: float, now: float) -> str:
    """Format a time as people say it: "13:58", with its date if that is not today's."""
    at = local_time(moment)
    is_today = abs(now - moment) < DAY and at.date() == local_time(now).date()
    return f"{at:%H:%M}" if is_today else f"{at:%Y-%m-%d %H:%M}"
