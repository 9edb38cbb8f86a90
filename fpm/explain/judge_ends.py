"""Troubles of processes that end: crashes, kills for memory, exits in a request, limits that were exceeded. Pure.

Processes that have ended at the same place in the same way are one finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fpm.explain.facts import Facts, Place
from fpm.explain.finding import Finding, Judge, Urgency
from fpm.explain.places import application_place, place_words, request_shown
from fpm.explain.sights import places_of, read_calls
from fpm.stacks.text.exception import NEWEST_FIRST, read_frames
from fpm.status.death_text import (
    AFTER_RESPONSE,
    FATAL,
    NOT_CHECKED,
    NOT_STARTED,
    RUNNING,
    death_notes,
    is_worker,
    lived,
    request_words,
)
from fpm.status.figures import format_age, format_size
from fpm.status.overview import Death
from fpm.status.trouble import LATELY

MEMORY, CRASH, EXIT, TIMEOUT, KILLED = "out-of-memory", "crash", "exit", "time-limit", "killed"
PAST = 3600.0
"""Seconds: of what is longer ago nothing is said."""
CRASHES = frozenset({"SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE", "SIGSYS", "SIGTRAP"})
"""Signals by which the kernel, or the process itself, ends what has gone wrong."""
MEMORY_LIMIT = "pm.max_memory_hard"
SAME_MOMENT = 5.0
"""Seconds within which an import ends and the reload that wanted it."""
SHOWN = 6
"""Lines of evidence."""
_ADVICE = {
    MEMORY: "Find out what grows: `pyfpm top` sorts workers by memory; pm.max_memory replaces a worker between two "
    "requests, before the kernel or a hard limit ends one within a request.",
    CRASH: "The crash is in C code, of an extension module or called by ctypes. Look at that package's version; "
    "with rlimit_core and process.dumpable the kernel writes a core dump.",
    EXIT: "A process of its own (subprocess) may exit; a worker must not: raise an exception, or return a response.",
    TIMEOUT: "The stack says where it was. request_terminate_timeout is what a request may take, "
    "process_control_timeout what a worker may take to leave.",
    KILLED: "Look for who sends the signal: the application itself (os.kill) or a process that it has started, a "
    "monitoring tool, an administrator; the kernel does so only at a limit of CPU time (RLIMIT_CPU).",
}
_SLOW_START = (
    "startup_timeout is what a process may take until it serves. An import should wait for nothing that may not "
    "answer; one that needs longer gets a longer limit."
)
_TRIED = "A reload had tried the new code and was refused; the code that served has not noticed."
_LEFT = (
    "It was in no request: `pyfpm logs` has what it wrote before. With code 70 pyfpm itself has given it up, as it "
    "does when a worker has no descriptor left."
)


def judge_deaths(facts: Facts) -> Iterable[Finding]:
    """Find why processes have ended of late."""
    groups: dict[tuple[str, str, str, str], list[Death]] = {}
    for death in facts.pool.deaths:
        if facts.now - death.at < PAST and not _is_said(death, facts):
            place = place_of(death)
            where = place_words(place, facts.pool.directory) if place is not None else ""
            groups.setdefault((_kind(death), _way(death), death.who, where), []).append(death)
    for (kind, _, _, where), deaths in groups.items():
        yield _make_finding(kind, where, deaths, facts)


def _is_said(death: Death, facts: Facts) -> bool:
    """Decide whether it is the end of an import that has failed, of which fpm.explain.judge_starts tells."""
    last = facts.daemon.last_reload
    has_failed = last is not None and not last.ok and abs(last.at - death.at) < SAME_MOMENT
    return death.who == "template" and (facts.pool.state == "failed" or has_failed)


def place_of(death: Death) -> Place | None:
    """Return where in the application it was; None if that is not known."""
    return application_place(places_on(death))


def places_on(death: Death) -> list[Place]:
    """Return the calls of its last stack, the newest first; as Python has written it in a crash, or as it was taken."""
    if death.output and death.output[0].startswith(FATAL):
        return places_of(read_frames("\n".join([NEWEST_FIRST, *death.output[1:]])))
    return places_of(read_calls(death.stack))


def _kind(death: Death) -> str:
    if death.oom == "yes" or (death.killed_by_master and death.retire_reason == MEMORY_LIMIT):
        return MEMORY
    if death.killed_by_master:
        return TIMEOUT
    if death.signal in CRASHES:
        return CRASH
    return KILLED if death.signal else EXIT


def _way(death: Death) -> str:
    """Return what tells ends of one kind apart: the signal or the code, or that a reload has tried it."""
    if _was_tried(death):
        return NOT_STARTED
    return "" if _kind(death) in (MEMORY, TIMEOUT) else death.signal or str(death.code)


def _was_tried(death: Death) -> bool:
    return death.next_action in (NOT_STARTED, NOT_CHECKED)


def _make_finding(kind: str, where: str, deaths: Sequence[Death], facts: Facts) -> Finding:
    last, now = deaths[0], facts.now
    is_late = now - last.at < LATELY and not _was_tried(last)
    has_lost = any(one.request_state == RUNNING for one in deaths if now - one.at < LATELY)
    urgency = Urgency.NOTE if not is_late else Urgency.FAILING if has_lost else Urgency.ATTENTION
    who = f"{last.who} {last.pid}"
    ago = f"{format_age(now - last.at)} ago"
    place = f"in {where}" if where else ""
    often = ""
    if len(deaths) > 1:
        often = f", the last of {len(deaths)} in {format_age(now - deaths[-1].at)}"
    parts = (_how(kind, last, who), place, _during(last), ago)
    return Finding(
        kind=kind,
        urgency=urgency,
        sentence=" ".join(filter(None, parts)) + often,
        evidence=tuple(_evidence(last)),
        advice=_advice(kind, last),
        since=deaths[-1].at,
        weight=1000.0 + len(deaths),
    )


def _advice(kind: str, last: Death) -> str:
    if _was_tried(last):
        return _TRIED
    if kind == TIMEOUT and last.retire_reason == "startup_timeout":
        return _SLOW_START
    return _LEFT if kind == EXIT and not _has_called(last) else _ADVICE[kind]


def _how(kind: str, death: Death, who: str) -> str:
    if kind == MEMORY:
        peak = f", at {format_size(death.memory_peak)}," if death.memory_peak else ""
        if death.killed_by_master:
            return f"{who} was terminated by the master because it used more than {death.retire_reason}{peak}"
        note = f" ({death.oom_note})" if death.oom_note else ""
        return f"the kernel killed {who} for lack of memory{note}{peak}"
    if kind == TIMEOUT:
        return f"{who} was terminated by the master ({death.retire_reason or 'it had not exited in time'})"
    if kind == CRASH:
        return f"{who} crashed with {death.signal}"
    if kind == KILLED:
        # Nobody can tell who has sent a SIGKILL; where the kernel has not done it for lack of memory, a process has.
        is_sent = death.signal == "SIGKILL" and death.oom == "no"
        sender = ", sent by a process (the application itself or another), not for lack of memory," if is_sent else ""
        return f"{who} was killed by {death.signal}{sender}"
    if death.code is None:
        return f"{who} ended, nobody knows how,"
    said = ", as os._exit() does," if _has_called(death) and is_worker(death) else ""
    return f"{who} exited with code {death.code}{said}"


def _has_called(death: Death) -> bool:
    """Tell whether it is the application that has ended it, in a request or at a place that it has told."""
    return bool(death.stack) or death.request_state in (RUNNING, AFTER_RESPONSE)


def _during(death: Death) -> str:
    if not death.request:
        return ""
    request = request_shown(death.request)
    if death.request_state == RUNNING:
        return f"while it served {request} ({request_words(death)})"
    if death.request_state == AFTER_RESPONSE:
        task = f" {death.task}" if death.task else ""
        return f"in background work{task} after {request}"
    return f"while it was idle (last request {request})"


def _evidence(last: Death) -> Iterable[str]:
    yield f"pid {last.pid} ended {last.cause} {lived(last)}"
    yield from list(death_notes(last))[:SHOWN]
    lines = [*last.stack, *last.output]
    yield from (f"  {line.strip()}" for line in lines[:SHOWN])


JUDGES: tuple[Judge, ...] = (judge_deaths,)
