"""A death certificate in words. Pure.

This is the only place that words a death. The line for the error log begins as PHP-FPM's (fpm_children_bury), so that
whatever reads its logs reads ours; what it does not say comes after that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fpm.log.escape import cut, escape, escape_field
from fpm.status.figures import format_age, format_size, format_span
from fpm.status.overview import Death

RUNNING = "running"
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
NOT_STARTED = "its generation has failed to start"
NOT_CHECKED = "its generation has failed the check"
"""What happens next where a reload had tried the process and was refused."""
LINE_CLAUSES = ("core", "oom", "events", "retire", "request", "pending", "served", "memory", "stack", "output")
"""What the error log has between how it ended and what happens next."""


def death_clauses(death: Death, *, script: str = "", stack_in: str = "the slow log") -> dict[str, str]:
    """What is known besides how it ended, in clauses that are "" where there is nothing to say.

    Args:
        script: the `app` directive.
        stack_in: where the whole stack can be read, if one was taken; "": the process has told these calls itself.
    """
    has_cpu = death.cpu_user or death.cpu_system
    cpu = f"CPU time {format_span(death.cpu_user)} user, {format_span(death.cpu_system)} system" if has_cpu else ""
    return {
        "core": f"core dump: {death.core}" if death.core else "",
        "oom": _oom(death),
        "events": f"its cgroup's memory.events: {death.memory_events}" if death.memory_events else "",
        "retire": _retire(death),
        "request": _request(death, script),
        "pending": f"not run: {death.pending_tasks}" if death.pending_tasks else "",
        "served": f"{death.requests} request{'' if death.requests == 1 else 's'} served" if is_worker(death) else "",
        "memory": f"peak memory {format_size(death.memory_peak)}" if death.memory_peak else "",
        "cpu": cpu,
        "stack": _stack(death, stack_in),
        "output": _output(death.output),
        "next": death.next_action,
    }


def certificate_line(death: Death, *, script: str = "", stack_in: str = "the slow log") -> str:
    """The text of the log entry, without the pool's name; see `death_clauses`."""
    name = {"worker": "child", "503 responder": "the 503 responder"}.get(death.who, death.who)
    pid = "" if death.who == "503 responder" else f" {death.pid}"
    clauses = death_clauses(death, script=script, stack_in=stack_in)
    parts = [f"{name}{pid} exited {death.cause} after {death.age:.6f} seconds from start"]
    parts += filter(None, map(clauses.get, LINE_CLAUSES))
    return f"{cut('; '.join(parts), LINE_MAX - len(death.next_action))}; {death.next_action}"


def request_words(death: Death) -> str:
    """What had become of the last request, to be read after it; "" without one."""
    if not death.request:
        return ""
    span = format_span(death.request_age)
    if death.request_state == RUNNING:
        return f"for {span}"
    if death.request_state == AFTER_RESPONSE:
        task = f" in {cut(escape(death.task), TEXT_MAX)}" if death.task else ""
        return f"in background work{task} for {span}"
    return f"ended {span} before"


def is_worker(death: Death) -> bool:
    """Return whether a worker died, not a template or a 503 responder."""
    return death.who == "worker"


def _oom(death: Death) -> str:
    note = death.oom_note
    if death.oom == "yes":
        return f"out of memory: killed by the kernel ({note})"
    if death.signal != "SIGKILL" or death.killed_by_master:
        return ""
    if death.oom == "no":
        return "not out of memory: sent by a process, the application itself or another"
    return f"out of memory or not is unknown ({note})" if note else "out of memory or not is unknown"


def _retire(death: Death) -> str:
    reason = cut(escape(death.retire_reason), TEXT_MAX)
    if death.killed_by_master:
        return f"terminated by the master ({reason})" if reason else "terminated by the master"
    return f"it had been told to exit ({reason})" if reason else ""


def _request(death: Death, script: str) -> str:
    if not death.request:
        return ""
    request = f'"{cut(escape_field(death.request), LINE_REQUEST_MAX)}"'
    of = f" (script {cut(escape(script), TEXT_MAX)})" if script else ""
    words = request_words(death)
    if death.request_state == RUNNING:
        return f"request {request} {words}{of}"
    if death.request_state == AFTER_RESPONSE:
        return f"{words} after request {request}{of}"
    return f"idle, last request {request} {words}{of}"


def _stack(death: Death, stack_in: str) -> str:
    if not death.stack:
        return ""
    if death.stack[0].startswith("no stack: "):
        return cut(escape(death.stack[0]), LINE_STACK_MAX)
    if stack_in:
        return f"in {cut(escape(death.stack[0]), LINE_STACK_MAX)}, the stack is in {stack_in}"
    return _called_by("in", death.stack)


def _called_by(how: str, calls: Sequence[str]) -> str:
    where = ", called by ".join(cut(escape(call), LINE_STACK_MAX) for call in calls[:2])
    return f"{how} {where}" if where else ""


def _output(lines: tuple[str, ...]) -> str:
    """What Python says of a crash, and where it was; of other output the last line."""
    if not lines:
        return ""
    if not lines[0].startswith(FATAL):
        return f'last output "{cut(escape_field(lines[-1]), LINE_STACK_MAX)}"'
    calls = [f"{match[3]} ({match[1]}:{match[2]})" for match in map(_FRAME.fullmatch, lines) if match]
    return f'"{cut(escape_field(lines[0]), LINE_STACK_MAX)}"{_called_by(" in", calls)}'


NOTES = ("oom", "events", "retire", "core", "pending", "memory", "cpu", "next")
"""What is shown beside the request and the stack, the most important first."""


def death_notes(death: Death) -> Iterator[str]:
    """Say what else is known, a clause each, the most important first."""
    clauses = death_clauses(death)
    yield from filter(None, map(clauses.get, NOTES))


def lived(death: Death) -> str:
    """Say how long it lived, and how many requests a worker served: "after 3 min and 1 request"."""
    served = f" and {death.requests} request{'' if death.requests == 1 else 's'}" if death.who == "worker" else ""
    return f"after {format_age(death.age)}{served}"


def death_line(death: Death) -> str:
    """Say all of it in one line, except when it was; not escaped."""
    who = "" if death.who == "worker" else f"{death.who} "
    head = f"{who}pid {death.pid} {death.cause} {lived(death)}"
    request = f"{death.request} {request_words(death)}" if death.request else ""
    where = (*death.stack, *death.output)[:1]
    return "; ".join(filter(None, (head, request, *where, *death_notes(death))))
