"""Troubles of workers that are busy: what they wait for, where they compute, what keeps them from the next request.

Workers that are busy at the same place with the same thing are one finding. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from fpm.explain import waits
from fpm.explain.advice import advice_for
from fpm.explain.facts import AFTER, BODY, CREATING, SENDING, TEMPLATE, Facts, Place, Sight
from fpm.explain.finding import Finding, Judge, Urgency
from fpm.explain.places import application_place, find_recursion, place_words, request_shown, stack_words
from fpm.explain.waits import holder_of, wait_of
from fpm.frozen import dataclass
from fpm.status.figures import format_size, format_span
from fpm.status.trouble import is_saturated

UPLOAD, CLIENT, BACKGROUND, RECURSION = "slow-upload", "slow-client", "background", "recursion"
PATIENCE = 5.0
"""Seconds that a request may take where the pool has no request_slowlog_timeout."""
PATIENCE_BACKGROUND = 60.0
"""Seconds that work after the response may take while it leaves half of the workers to others."""
SHOWN = 5
"""Workers of a finding that are listed, and calls of the stack of one of them."""


@dataclass(frozen=True, slots=True)
class _Cause:
    """Why a worker is busy; those with equal ones are one finding."""

    kind: str
    words: str
    """After the place: "waiting for 10.0.0.5:5432"."""
    function: str
    file: str
    target: str = ""


def judge_busy(facts: Facts) -> Iterable[Finding]:
    """Find what busy workers have in common, as far as it is trouble."""
    groups: dict[_Cause, list[Sight]] = {}
    patience = _patience_for(facts)
    for sight in facts.sights:
        if sight.stage not in (TEMPLATE, CREATING) and sight.seconds >= patience.get(sight.stage, patience[""]):
            groups.setdefault(_cause_of(sight), []).append(sight)
    for cause, sights in _joined(groups).items():
        yield _make_finding(cause, sights, facts)


def _joined(groups: Mapping[_Cause, list[Sight]]) -> dict[_Cause, list[Sight]]:
    """Count workers of which only the place is known, from the slow log, with those that were looked at there."""
    known = {cause: list(sights) for cause, sights in groups.items() if cause.words or not cause.function}
    for cause, sights in groups.items():
        if cause not in known:
            same = [one for one in known if one.words and (one.function, one.file) == (cause.function, cause.file)]
            known.setdefault(max(same, key=lambda one: len(known[one]), default=cause), []).extend(sights)
    return known


def _patience_for(facts: Facts) -> dict[str, float]:
    """Say by stage ("": any other) from how many seconds on a busy worker is trouble; in a saturated pool each is."""
    numbers = facts.pool.numbers
    if is_saturated(numbers):
        return {"": 0.0}
    many = 2 * sum(one.stage == AFTER for one in facts.sights) >= max(numbers.max_children, 1)
    return {"": numbers.slow_limit / 1e6 or PATIENCE, AFTER: PATIENCE if many else PATIENCE_BACKGROUND}


def _cause_of(sight: Sight) -> _Cause:
    place = application_place(sight.places)
    function, file = (place.function, place.file) if place is not None else ("", "")
    if sight.stage == BODY:
        return _Cause(UPLOAD, "reading the request's body", function, file)
    if sight.stage == SENDING:
        return _Cause(CLIENT, "sending the response to the web server", function, file)
    if sight.stage == AFTER:
        return _Cause(BACKGROUND, f"in the background work {sight.task}".rstrip(), function, file)
    recursion = find_recursion(sight)
    if recursion is not None:
        return _Cause(RECURSION, "in a recursion", recursion.place.function, recursion.place.file)
    wait = wait_of(sight)
    return _Cause(wait.kind, wait.words, function, file, wait.target)


def _make_finding(cause: _Cause, sights: Sequence[Sight], facts: Facts) -> Finding:
    count, oldest = len(sights), max(sights, key=lambda one: one.seconds)
    where = _where(cause, sights, facts.pool.directory)
    details = _DETAILS.get(cause.kind, _wait_details)(oldest, facts)
    who = f"pid {oldest.pid}" + (f", {request_shown(oldest.request)}" if oldest.request else "")
    span = f"{'for up to' if count > 1 else 'for'} {format_span(oldest.seconds)}"
    order = (where, cause.words, details)
    if cause.kind == BACKGROUND:  # the task that is named already is not named as its own place
        order = (cause.words, where.removeprefix(f"in {oldest.task} ") if oldest.task else where, details)
    what = " ".join(filter(None, (*order, span))) + f" ({who})"
    return Finding(
        kind=cause.kind,
        urgency=Urgency.SATURATED if is_saturated(facts.pool.numbers) else Urgency.SLOW,
        sentence=f"{count} {'worker is' if count == 1 else 'workers are'} {what}",
        part=f"{count} of them {what}",
        evidence=tuple(_evidence(sights, oldest, facts.pool.directory)),
        advice=advice_for(cause.kind, cause.target, oldest.pid),
        since=facts.now - oldest.seconds,
        weight=count + min(oldest.seconds, 1e6) / 1e7,
    )


def _where(cause: _Cause, sights: Sequence[Sight], directory: str) -> str:
    """Name the function and the line at which most of them are; "" if no stack is known."""
    lines: Counter[int] = Counter()
    known: dict[int, Place] = {}
    for sight in sights:
        place = _place_of(cause, sight)
        if place is not None:
            lines[place.line] += 1
            known[place.line] = place
    return f"in {place_words(known[lines.most_common(1)[0][0]], directory)}" if lines else ""


def _place_of(cause: _Cause, sight: Sight) -> Place | None:
    if cause.kind == RECURSION:
        recursion = find_recursion(sight)
        return recursion.place if recursion is not None else None
    return next((one for one in sight.places if (one.function, one.file) == (cause.function, cause.file)), None)


def _wait_details(sight: Sight, facts: Facts) -> str:
    return wait_of(sight).detail


def _no_details(sight: Sight, facts: Facts) -> str:
    return ""


def _upload_details(sight: Sight, facts: Facts) -> str:
    return (f"of {format_size(sight.content_length)} " if sight.content_length else "") + "from the web server"


def _recursion_details(sight: Sight, facts: Facts) -> str:
    recursion = find_recursion(sight)
    return f"of {recursion.depth} calls" if recursion is not None else ""


def _lock_details(sight: Sight, facts: Facts) -> str:
    holder = holder_of(sight)
    place = application_place(holder.places) if holder is not None else None
    if holder is None or place is None:
        return ""
    return f"while another thread of it is in {place_words(place, facts.pool.directory)}"


def _holder_details(sight: Sight, facts: Facts) -> str:
    if not sight.holder:
        return ""
    request = next((one.request for one in facts.sights if one.pid == sight.holder and one.request), "")
    return f"that pid {sight.holder} has" + (f" ({request_shown(request)})" if request else "")


def _background_details(sight: Sight, facts: Facts) -> str:
    return wait_of(sight).whole


_DETAILS: dict[str, Callable[[Sight, Facts], str]] = {
    UPLOAD: _upload_details,
    CLIENT: _no_details,
    RECURSION: _recursion_details,
    BACKGROUND: _background_details,
    waits.LOCK: _lock_details,
    waits.SQLITE: _holder_details,
    waits.INTERPRETER: _lock_details,
}


def _evidence(sights: Sequence[Sight], oldest: Sight, directory: str) -> Iterable[str]:
    for sight in sights[:SHOWN]:
        request = f" {request_shown(sight.request)}" if sight.request else ""
        doing = "; ".join(filter(None, (sight.doing, sight.error and f"no stack: {sight.error}")))
        yield f"pid {sight.pid}{request}, {sight.stage} for {format_span(sight.seconds)}" + (doing and f": {doing}")
    if len(sights) > SHOWN:
        yield f"... {len(sights) - SHOWN} more"
    if oldest.places:
        yield f"stack of pid {oldest.pid}, the newest call first:"
        yield from (f"  {line}" for line in stack_words(oldest.places, directory, SHOWN))


JUDGES: tuple[Judge, ...] = (judge_busy,)
