"""Troubles that the pool's figures show, whatever their cause: saturation, errors, slow requests. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fpm.explain.facts import Facts
from fpm.explain.finding import Finding, Judge, Urgency
from fpm.status.death_text import RUNNING
from fpm.status.figures import format_age, format_span
from fpm.status.past.recent import Window
from fpm.status.trouble import is_saturated

SATURATED, ERRORS, SLOW, PAST = "saturated", "errors", "slow", "past"
SETTLED = 30.0
"""Seconds after a start in which there need not be a history yet."""
STUCK = 10.0
"""Seconds at one thing: a worker that takes so long is not busy but stuck."""
_STUCK = "Mend first what the workers are at: more of them would soon be at it as well."
_TOO_FEW = "If the machine has memory and processors left, raise pm.max_children; docs/sizing.md says how far."
ROUTES = 3
"""Routes that are named because their requests fail."""


def judge_saturation(facts: Facts) -> Iterable[Finding]:
    """Find that all workers are busy while connections wait."""
    numbers, recent = facts.pool.numbers, facts.pool.recent
    if is_saturated(numbers):
        count = numbers.max_children
        yield Finding(
            SATURATED,
            Urgency.SATURATED,
            f"all {count} workers are busy and {_count(numbers.listen_queue, 'connection waits', 'connections wait')}",
            advice=_STUCK if _are_stuck(facts) else _TOO_FEW,
            since=recent.saturated_since if recent is not None else None,
            weight=-1.0,  # what the workers are busy with comes first
        )


def _are_stuck(facts: Facts) -> bool:
    """Decide whether most workers have been at one request so long that more of them would soon be at it as well."""
    stuck = sum(one.seconds >= STUCK for one in facts.sights)
    return 2 * stuck > max(len(facts.sights), 1)


def judge_past(facts: Facts) -> Iterable[Finding]:
    """Say that a pool may look well only because nobody tells its last minutes."""
    if facts.lately is None and facts.now - facts.pool.numbers.start_time > SETTLED:
        yield Finding(
            PAST,
            Urgency.NOTE,
            "errors and response times of the last minutes are not known",
            advice="The status process does not answer, or status_history = no. `pyfpm logs` has the errors.",
            weight=-2.0,
        )


def judge_errors(facts: Facts) -> Iterable[Finding]:
    """Find responses of class 5xx and uncaught exceptions of the last five minutes."""
    window = facts.lately
    if window is None or not (window.failures or window.errors):
        return
    when, lost = f"in the last {format_age(min(window.covered, window.seconds))}", _count_lost(facts, window)
    if window.failures <= lost and not window.errors:
        return  # their ends are told
    exceptions = _count(window.errors, "uncaught exception", "uncaught exceptions") if window.errors else ""
    sentence = f"{exceptions} {when}"
    if window.failures:
        responses = _count(window.statistics.count, "response", "responses")
        verb = "was" if window.failures == 1 else "were"
        whys = ", ".join(filter(None, (exceptions, f"{lost} by the end of the worker" if lost else "")))
        sentence = f"{window.failures} of {responses} {when} {verb} 5xx" + (f" ({whys})" if whys else "")
    yield Finding(
        ERRORS,
        Urgency.FAILING,
        sentence,
        evidence=tuple(_failing_routes(facts)),
        advice=_errors_advice(facts, window),
        weight=-1.0,  # what they are comes first
    )


def _count_lost(facts: Facts, window: Window) -> int:
    """Count the responses of class 5xx of requests that their workers have ended in.

    Not all deaths are listed, but all are counted; those that are not listed are taken for such as have lost a request.
    """
    since = facts.now - min(window.covered, window.seconds)
    late = [one for one in facts.pool.deaths if one.who == "worker" and one.at >= since]
    others = sum(one.request_state != RUNNING or one.has_answered for one in late)
    return min(max(window.deaths - others, 0), window.failures)


def _failing_routes(facts: Facts) -> Iterable[str]:
    failing = sorted((one for one in facts.pool.routes if one.errors and one.route), key=lambda one: -one.errors)
    for one in failing[:ROUTES]:
        yield f"{one.route}: {one.errors} of {_count(one.requests, 'request', 'requests')} since the start"


def _errors_advice(facts: Facts, window: Window) -> str:
    name = facts.pool.name
    if window.errors or facts.pool.state == "failed":
        return f"`pyfpm logs {name}` has the tracebacks."
    return (
        "The application has made such answers itself, no exception has reached pyfpm: look into its own log, and "
        f"at `pyfpm top --by url {name}`."
    )


def judge_slow(facts: Facts) -> Iterable[Finding]:
    """Find requests that were too slow in the last five minutes, and have ended."""
    window = facts.lately
    # Those that still run are told by what they are at.
    over = window.slow - sum(one.running for one in facts.pool.slow) if window is not None else 0
    if window is None or over <= 0:
        return
    limit = format_span(facts.pool.numbers.slow_limit / 1e6)
    yield Finding(
        SLOW,
        Urgency.SLOW,
        f"{_count(over, 'request', 'requests')} took longer than {limit} in the last "
        f"{format_age(min(window.covered, window.seconds))}",
        advice=f"`pyfpm slow {facts.pool.name}` shows where their time went.",
        weight=-1.0,
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


JUDGES: tuple[Judge, ...] = (judge_saturation, judge_errors, judge_slow, judge_past)
