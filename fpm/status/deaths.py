"""Death certificates for those who look: in words, and as JSON after the keys of PHP-FPM's page.

Texts are as in fpm.status.overview.Death; whoever shows them escapes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace

from fpm.status.extras import PoolExtras
from fpm.status.figures import format_age, format_size, format_span
from fpm.status.overview import Death
from fpm.status.pages import Page


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
