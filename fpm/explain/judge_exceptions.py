"""Troubles that show as exceptions: requests that fail at the same line, memory and descriptors that run out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fpm.explain.facts import Descriptors, Facts
from fpm.explain.finding import Finding, Judge, Urgency
from fpm.explain.judge_ends import MEMORY, PAST
from fpm.explain.places import application_place, place_words, request_shown
from fpm.explain.sights import places_of, read_calls
from fpm.status.exceptions import SeenException
from fpm.status.figures import format_age
from fpm.status.trouble import LATELY

EXCEPTION, EXIT_REQUEST, DESCRIPTORS = "exception", "sys-exit", "descriptors"
MOST = 5
"""Exceptions that are told."""
SHOWN = 5
"""Calls of a stack."""
NEARLY = 0.75
"""Part of the limit from which descriptors are about to run out."""
MANY, MANY_PART = 200, 0.5
"""So many of them, and such a part of the limit, are odd as well: a worker serves one request at a time."""
NO_DESCRIPTORS = re.compile(r"\[Errno (?:24|23)\]|[Tt]oo many open files")
_ADVICE = {
    EXCEPTION: "`pyfpm logs {pool}` has the whole traceback.",
    EXIT_REQUEST: "Return a response, or raise an exception of the framework: sys.exit() ends the request with 500, "
    "or in the middle of its response.",
    MEMORY: "The request wants more memory than the worker may have: see rlimit_as, and the limit of the container.",
    DESCRIPTORS: "Something is opened for each request and not closed: use `with`, and close what is kept in a global. "
    "Until then pm.max_requests replaces workers in time; rlimit_files is the limit.",
}


def judge_exceptions(facts: Facts) -> Iterable[Finding]:
    """Find the lines at which requests have failed of late."""
    late = [seen for seen in facts.pool.exceptions if facts.now - seen.last < PAST]
    for seen in sorted(late, key=lambda one: -one.count)[:MOST]:
        yield _make_finding(seen, facts)
    if len(late) > MOST:
        others = "exceptions are" if len(late) > MOST + 1 else "exception is"
        command = f"`pyfpm status {facts.pool.name}`"
        text = f"{len(late) - MOST} other {others} shown by {command}"
        yield Finding(kind=EXCEPTION, urgency=Urgency.NOTE, sentence=text)


def kind_of(seen: SeenException) -> str:
    """Say which kind of trouble an exception is."""
    if seen.kind == "SystemExit":
        return EXIT_REQUEST
    if seen.kind == "MemoryError":
        return MEMORY
    return DESCRIPTORS if NO_DESCRIPTORS.search(seen.message) else EXCEPTION


def _make_finding(seen: SeenException, facts: Facts) -> Finding:
    now, kind = facts.now, kind_of(seen)
    place = application_place(places_of(read_calls([seen.place])))
    where = f" in {place_words(place, facts.pool.directory)}" if place is not None else ""
    often = f"{seen.count} times in {format_age(max(now - seen.first, 1.0))}, last" if seen.count > 1 else ""
    who = " ".join(filter(None, (often, f"by pid {seen.pid} {format_age(now - seen.last)} ago")))
    return Finding(
        kind=kind,
        urgency=_urgency(seen, facts),
        sentence=f"{request_shown(seen.request) or 'a request'} {_what(kind, seen)}{where}{_WHY.get(kind, '')}, {who}",
        evidence=tuple(f"  {call}" for call in seen.stack[:SHOWN]),
        advice=_ADVICE[kind].replace("{pool}", facts.pool.name),
        since=seen.first,
        weight=500.0 + min(seen.count, 400),
    )


def _urgency(seen: SeenException, facts: Facts) -> Urgency:
    if facts.now - seen.last >= LATELY:
        return Urgency.NOTE
    if not seen.printed:
        return Urgency.FAILING
    # What is only printed may be harmless, unless requests fail.
    statistics = facts.lately.statistics if facts.lately is not None else facts.pool.statistics
    return Urgency.FAILING if statistics.classes[4] else Urgency.ATTENTION


def _what(kind: str, seen: SeenException) -> str:
    if kind == EXIT_REQUEST:
        return f"calls sys.exit({seen.message})"
    return f"{'logs' if seen.printed else 'fails with'} {seen.words.rstrip('.')}"


_WHY = {
    EXIT_REQUEST: ", which ends the request, not the worker",
    MEMORY: " because the worker may not have more memory",
    DESCRIPTORS: " because the worker has no descriptor left",
}


def is_leaking(one: Descriptors) -> bool:
    """Decide whether a worker has so many descriptors that it must be a leak."""
    return one.used >= NEARLY * one.limit or (one.used >= MANY and one.used >= MANY_PART * one.limit)


def judge_descriptors(facts: Facts) -> Iterable[Finding]:
    """Find workers whose descriptors are about to run out, or have run out."""
    leaking = {pid: one for pid, one in facts.descriptors.items() if is_leaking(one)}
    if not leaking:
        return
    pid, worst = max(leaking.items(), key=lambda item: item[1].used / item[1].limit)
    others = f", {len(leaking) - 1} other worker{'s' * (len(leaking) > 2)} nearly as many" if len(leaking) > 1 else ""
    what = f": {', '.join(worst.targets)}" if worst.targets else ""
    yield Finding(
        kind=DESCRIPTORS,
        urgency=Urgency.ATTENTION,
        sentence=f"worker {pid} has {worst.used} of {worst.limit} descriptors open{what}{others}",
        evidence=tuple(f"pid {pid}: {one.used} of {one.limit}" for pid, one in leaking.items())[:SHOWN],
        advice=_ADVICE[DESCRIPTORS],
        weight=1000.0 * worst.used / worst.limit,
    )


JUDGES: tuple[Judge, ...] = (judge_exceptions, judge_descriptors)
