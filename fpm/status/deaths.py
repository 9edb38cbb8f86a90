"""Words the deaths of processes for status pages and `pyfpm status`. Pure.

Texts are as in fpm.status.overview.Death; whoever shows them escapes.
"""

from __future__ import annotations

from collections.abc import Iterator

from fpm.status.death_text import death_clauses, request_words
from fpm.status.figures import format_age
from fpm.status.overview import Death

NOTES = ("oom", "retire", "core", "pending", "memory", "cpu", "next")
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
