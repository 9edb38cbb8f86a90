"""Troubles of code that does not come to serve: an import that hangs or fails, a deploy of broken code. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fpm.explain import waits
from fpm.explain.facts import CREATING, TEMPLATE, Facts, Place, Sight
from fpm.explain.finding import Finding, Judge, Urgency
from fpm.explain.judge_ends import places_on
from fpm.explain.places import application_place, place_words, stack_words
from fpm.explain.sights import places_of, read_calls
from fpm.explain.waits import wait_of
from fpm.stacks.text.exception import read_frames
from fpm.status.figures import format_age

IMPORT, START, RELOAD, UNREACHABLE = "import", "does-not-start", "reload-failed", "unreachable"
PATIENCE = 5.0
"""Seconds that an import may take while nobody serves."""
PATIENCE_BESIDE = 30.0
"""Seconds that it may take while others serve."""
_OF_POOL = re.compile(r"pool \S+: ")
_STACK_IN = "; its stack is in "
"""The end of an error that says where to find what is shown here."""
SHOWN = 6
"""Calls of a stack."""


def judge_imports(facts: Facts) -> Iterable[Finding]:
    """Find imports of the application that take long."""
    starting = [one for one in facts.sights if one.stage in (TEMPLATE, CREATING)]
    if not starting:
        return
    serves = any(worker.state.lower() != CREATING for worker in facts.pool.workers)
    oldest = max(starting, key=lambda one: one.seconds)
    if oldest.seconds < PATIENCE and (serves or facts.pool.state == "failed"):
        return
    place = application_place(oldest.places)
    where = f", importing {place_words(place, facts.pool.directory)}" if place is not None else ""
    what = "a new generation has been starting" if serves else "it has been starting"
    rest = "; the former one serves" if serves else "; nothing serves meanwhile"
    yield Finding(
        kind=IMPORT,
        urgency=_import_urgency(oldest.seconds, serves=serves),
        sentence=f"{what} for {format_age(oldest.seconds)}{where}{_waits(oldest)} (pid {oldest.pid}){rest}",
        evidence=tuple(_import_evidence(oldest, facts)),
        advice="An import should wait for nothing that may not answer; startup_timeout ends one that does.",
        since=facts.now - oldest.seconds,
        weight=oldest.seconds,
    )


def _import_urgency(seconds: float, *, serves: bool) -> Urgency:
    if serves:
        return Urgency.ATTENTION if seconds >= PATIENCE_BESIDE else Urgency.NOTE
    return Urgency.BROKEN if seconds >= PATIENCE else Urgency.NOTE


def _waits(sight: Sight) -> str:
    wait = wait_of(sight)
    return f", {wait.whole}" if wait.words and wait.kind != waits.UNKNOWN else ""


def _import_evidence(sight: Sight, facts: Facts) -> Iterable[str]:
    if sight.error or not sight.places:
        yield f"pid {sight.pid}, no stack: {sight.error or 'it was not looked at'}"
        return
    yield f"stack of pid {sight.pid}, the newest call first:"
    yield from _lines(sight.places, facts)


def judge_start(facts: Facts) -> Iterable[Finding]:
    """Find that the application does not start, or that nobody can reach the pool."""
    pool, numbers = facts.pool, facts.pool.numbers
    if pool.state != "failed":
        if pool.error:
            yield Finding(UNREACHABLE, Urgency.BROKEN, f"it cannot be reached: {pool.error}")
        return
    ends = [death for death in pool.deaths if death.who == "template"]
    places = places_of(read_frames(pool.traceback)) or (places_on(ends[0]) if ends else [])
    tries = f"{numbers.start_failures} failed starts, " if numbers.start_failures > 1 else ""
    left = numbers.next_start - facts.now
    again = f"next try in {format_age(left)}" if left >= 1.0 else "the next try is due"
    serves = "its former workers serve on" if pool.workers else "clients get 503"
    yield Finding(
        kind=START,
        urgency=Urgency.ATTENTION if pool.workers else Urgency.BROKEN,
        sentence=f"its application does not start ({tries}{again}), {serves}: {_with_place(pool.error, places, facts)}",
        evidence=_lines(places, facts),
        advice=f"`pyfpm test --import {pool.name}` imports it beside the daemon; after a correction "
        f"`pyfpm reload {pool.name}` tries at once.",
        since=numbers.failed_since or None,
        weight=1e6,
    )


def judge_reload(facts: Facts) -> Iterable[Finding]:
    """Find that the last deploy was refused, so that former code serves."""
    pool, last = facts.pool, facts.daemon.last_reload
    if last is None or last.ok:
        return
    own = f"pool {pool.name}: "
    is_other = _OF_POOL.match(last.reason) is not None and own not in last.reason
    places = places_of(read_calls(last.stack)) if not is_other else []
    generation = f"; generation {pool.numbers.generation} serves on" if pool.workers else ""
    reason = _with_place(last.reason.removeprefix(own), places, facts)
    whose = ", because of another pool" if is_other else ""
    yield Finding(
        kind=RELOAD,
        urgency=Urgency.NOTE if is_other else Urgency.ATTENTION,
        sentence=f"the last reload has failed {format_age(facts.now - last.at)} ago{whose}: {reason}{generation}",
        evidence=_lines(places, facts),
        advice=f"Correct the code and `pyfpm reload {pool.name}` again. The code on disk is not what serves: a restart "
        "of the daemon would fail with it.",
        since=last.at,
    )


def _with_place(error: str, places: Sequence[Place], facts: Facts) -> str:
    place = application_place(places)
    if place is None:
        return error.rstrip(".")
    return f"{error.partition(_STACK_IN)[0].rstrip('.')} in {place_words(place, facts.pool.directory)}"


def _lines(places: Sequence[Place], facts: Facts) -> tuple[str, ...]:
    shown = [place for place in places if place.library != "importlib"]
    return tuple(f"  {line}" for line in stack_words(shown, facts.pool.directory, SHOWN))


JUDGES: tuple[Judge, ...] = (judge_start, judge_imports, judge_reload)
