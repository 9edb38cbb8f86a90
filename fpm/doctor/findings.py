"""What the doctor has found: values, from which the command makes text or JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from fpm.frozen import dataclass

Level = Literal["problem", "warning", "note"]
"""problem: it will not work, so the exit status is 1. warning: it works, but not as well, or not as safely, as it
could. note: something that could not be seen, or lines that are needed elsewhere."""
ORDER: tuple[Level, ...] = ("problem", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and what mends it."""

    check: str
    """What was looked at, one word."""
    level: Level
    text: str
    """A sentence without its full stop."""
    pool: str = ""
    """"": it is about the machine, or all pools."""
    lines: tuple[str, ...] = ()
    """To write into a file: directives of the pool, or lines for the web server, as the text says."""
    commands: tuple[str, ...] = ()
    """For a shell, in this order, after the lines are written."""
    where: str = ""
    """FILE:LINE of the section for the lines, if they are directives."""
    quoted: str = ""
    """What somebody else has said: the end of a traceback."""


def as_values(finding: Finding) -> dict[str, Any]:
    """Make the values of JSON, by the names of the fields."""
    return {
        "check": finding.check,
        "level": finding.level,
        "text": finding.text,
        "pool": finding.pool,
        "lines": list(finding.lines),
        "where": finding.where,
        "commands": list(finding.commands),
        "quoted": finding.quoted,
    }


def read_finding(values: Mapping[str, Any]) -> Finding:
    """Make the finding again."""
    return Finding(**{**values, "lines": tuple(values["lines"]), "commands": tuple(values["commands"])})


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Put what is worse first, and otherwise keep the order."""
    return sorted(findings, key=lambda one: ORDER.index(one.level))


def has_problem(findings: Iterable[Finding]) -> bool:
    """Tell whether anything will not work."""
    return any(one.level == "problem" for one in findings)
