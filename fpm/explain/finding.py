"""What was found: one cause of trouble, how urgent it is, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any

from fpm.explain.facts import Facts
from fpm.frozen import dataclass


class Urgency(IntEnum):
    """How bad it is, the worst first."""

    BROKEN = 0
    """The pool serves nothing."""
    SATURATED = 1
    """All workers are busy, and connections wait."""
    FAILING = 2
    """Some requests fail."""
    SLOW = 3
    """Some requests wait, or workers are lost to something."""
    ATTENTION = 4
    """No client notices, yet: a deploy was refused, descriptors run out, a worker has died without a request."""
    NOTE = 5
    """Worth knowing; nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. Texts are not escaped."""

    kind: str
    """A word for programs: "waiting", "lock", "out-of-memory" ... docs/explain.md lists them."""
    urgency: Urgency
    sentence: str
    """One sentence without its full stop, that says what, where (file:line), who (pid) and for whom (request)."""
    part: str = ""
    """The same for a list after "20 of 20 workers busy", as in "12 of them in app.search (app.py:4)"; "": it is not
    about busy workers."""
    evidence: tuple[str, ...] = ()
    """What it was concluded from, a line each: pids, requests, lines of stacks, last words."""
    advice: str = ""
    """What to do, in one or two sentences; or ""."""
    since: float | None = None
    """Epoch seconds, as far as it is known."""
    weight: float = 0.0
    """Among findings of the same urgency those with the greater weight come first: as many workers, seconds, deaths."""

    @property
    def is_trouble(self) -> bool:
        """Tell whether something is wrong: a note says that nothing is."""
        return self.urgency is not Urgency.NOTE


Judge = Callable[[Facts], Iterable[Finding]]
"""Looks for one kind of trouble; it must understand facts of which anything is missing."""


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Put the worst first."""
    return sorted(findings, key=lambda one: (one.urgency, -one.weight))


def as_values(finding: Finding) -> dict[str, Any]:
    """Make the values of JSON, by the names of the fields."""
    return {
        "kind": finding.kind,
        "urgency": finding.urgency.name.lower(),
        "sentence": finding.sentence,
        "evidence": list(finding.evidence),
        "advice": finding.advice,
        "since": finding.since,
    }
