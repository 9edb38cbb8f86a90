"""Death certificates in words: a line for the error log, clauses for those who look. Pure.

The line begins as PHP-FPM's (fpm_children_bury), so that whatever reads its logs reads ours; what it does not say comes
after that. It is escaped; the clauses are not, whoever shows them escapes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace

from fpm.log.escape import cut, escape, escape_field
from fpm.status.extras import PoolExtras
from fpm.status.figures import format_age, format_size, format_span
from fpm.status.overview import Death
from fpm.status.pages import Page

IN_HAND = "in hand"
AFTER_RESPONSE = "after the response"
FINISHED = "finished"
TEXT_MAX = 200
"""Characters of each frame, or line of the last words."""
LINE_MAX = 920
"""Bytes of the line, so that its end is not cut by `log_limit` (1024 by default)."""
LINE_REQUEST_MAX = 200
LINE_STACK_MAX = 160
_FRAME = re.compile(r' *File "(.*)", line (\d+) in (.*)')
FATAL = "Fatal Python error: "
"""How faulthandler begins (Modules/faulthandler.c)."""


def death_counts(extras: PoolExtras) -> tuple[tuple[str, int], ...]:
    """How many workers have died, by cause."""
    return (
        ("by exit", extras.deaths_by_exit),
        ("by signal", extras.deaths_by_signal),
        ("by SIGKILL", extras.deaths_by_kill),
        ("out of memory", extras.deaths_by_oom),
        ("by timeout", extras.deaths_by_timeout),
    )


def request_words(death: Death) -> str:
    """What had become of the last request; "" without one."""
    if not death.request:
        return ""
    span = format_span(death.request_age)
    if death.request_state == "in hand":
        return f"in hand for {span}"
    if death.request_state == "after the response":
        return f"answered; {death.task or 'the application'} went on for {span}"
    return f"had ended {span} before"


def death_notes(death: Death) -> Iterator[str]:
    """What else is known, a clause each, the most important first."""
    if death.oom == "yes":
        yield f"out of memory: killed by the kernel ({death.oom_note})"
    elif death.signal == "SIGKILL" and not death.ended:
        unknown = f"whether for lack of memory is not known ({death.oom_note})"
        yield "not for lack of memory: somebody has sent it" if death.oom == "no" else unknown
    if death.ended:
        yield f"ended by the master ({death.told})" if death.told else "ended by the master"
    elif death.told:
        yield f"it was to leave ({death.told})"
    if death.core:
        yield f"core dump: {death.core}"
    if death.memory_peak:
        yield f"peak memory {format_size(death.memory_peak)}"
    if death.cpu_user or death.cpu_system:
        yield f"CPU time {format_span(death.cpu_user)} user, {format_span(death.cpu_system)} system"
    if death.next:
        yield death.next


def lived(death: Death) -> str:
    """How long, and of a worker how many requests: "after 3 min and 1 request"."""
    served = f" and {death.requests} request{'' if death.requests == 1 else 's'}" if death.who == "worker" else ""
    return f"after {format_age(death.age)}{served}"


def death_line(death: Death) -> str:
    """All of it in one line, but for when it was; not escaped."""
    who = "" if death.who == "worker" else f"{death.who} "
    head = f"{who}pid {death.pid} {death.cause} {lived(death)}"
    request = f"{death.request} {request_words(death)}" if death.request else ""
    where = (*death.stack, *death.words)[:1]
    return "; ".join(filter(None, (head, request, *where, *death_notes(death))))


def join_deaths(page: Page, deaths: Iterable[Death]) -> Page:
    """A JSON page of fpm.status.pages with a list of the certificates as its last key."""
    body = page.body.decode().rstrip()
    described = json.dumps([{name.replace("_", " "): value for name, value in asdict(one).items()} for one in deaths])
    return replace(page, body=f'{body.removesuffix("}")},"deaths":{described}}}'.encode())


def certificate_line(death: Death, *, script: str = "", stack_in: str = "the slow log") -> str:
    """The text of the log entry, without the pool's name.

    Args:
        script: the `app` directive.
        stack_in: where the whole stack can be read, if one was taken.
    """
    name = {"worker": "child", "503 responder": "the 503 responder"}.get(death.who, death.who)
    pid = "" if death.who == "503 responder" else f" {death.pid}"
    parts = [
        f"{name}{pid} exited {death.cause} after {death.age:.6f} seconds from start",
        f"core dump: {death.core}" if death.core else "",
        _oom_part(death),
        _told_part(death),
        _request_part(death, script),
        f"not run after it: {death.undone}" if death.undone else "",
        f"{death.requests} request{'' if death.requests == 1 else 's'} served" if death.who == "worker" else "",
        f"peak memory {format_size(death.memory_peak)}" if death.memory_peak else "",
        _stack_part(death, stack_in),
        _words_part(death.words),
    ]
    return f"{cut('; '.join(filter(None, parts)), LINE_MAX - len(death.next))}; {death.next}"


def _oom_part(death: Death) -> str:
    note = death.oom_note
    if death.oom == "yes":
        return f"out of memory: killed by the kernel ({note})"
    if death.signal != "SIGKILL" or death.ended:
        return ""
    if death.oom == "no":
        return "not for lack of memory: somebody has sent it"
    return f"whether for lack of memory is not known ({note})" if note else "whether for lack of memory is not known"


def _told_part(death: Death) -> str:
    told = cut(escape(death.told), TEXT_MAX)
    if death.ended:
        return f"ended by the master ({told})" if told else "ended by the master"
    return f"it was to leave ({told})" if told else ""


def _request_part(death: Death, script: str) -> str:
    if not death.request:
        return ""
    request = f'"{cut(escape_field(death.request), LINE_REQUEST_MAX)}"'
    of = f" (script {cut(escape(script), TEXT_MAX)})" if script else ""
    span = format_span(death.request_age)
    if death.request_state == IN_HAND:
        return f"request {request} for {span}{of}"
    if death.request_state == AFTER_RESPONSE:
        task = f" in {cut(escape(death.task), TEXT_MAX)}" if death.task else ""
        return f"in background work{task} for {span} after request {request}{of}"
    return f"idle, last request {request} ended {span} before{of}"


def _stack_part(death: Death, stack_in: str) -> str:
    if not death.stack:
        return ""
    if death.stack[0].startswith("no stack: "):
        return cut(escape(death.stack[0]), LINE_STACK_MAX)
    return f"in {cut(escape(death.stack[0]), LINE_STACK_MAX)}, the stack is in {stack_in}"


def _words_part(words: tuple[str, ...]) -> str:
    """What Python says of a crash, and where it was; of other last words the last line."""
    if not words:
        return ""
    if not words[0].startswith(FATAL):
        return f'last words "{cut(escape_field(words[-1]), LINE_STACK_MAX)}"'
    calls = [f"{match[3]} ({match[1]}:{match[2]})" for match in map(_FRAME.fullmatch, words) if match]
    where = ", called by ".join(cut(escape(call), LINE_STACK_MAX) for call in calls[:2])
    return f'"{cut(escape_field(words[0]), LINE_STACK_MAX)}"' + (f" in {where}" if where else "")
