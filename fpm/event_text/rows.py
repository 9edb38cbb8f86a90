"""What the tables of all events are made of. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

DEBUG, NOTICE, WARNING, ERROR, ALERT = "DEBUG", "NOTICE", "WARNING", "ERROR", "ALERT"
NONE = ""
"""Not in the error log, or there without a level."""

Row = tuple[str | Callable[[Any], str], str | Callable[[Any], str | list[str]]]


def as_clause(text: str) -> str:
    """Add a clause to a sentence, if there is one."""
    return f"; {text}" if text else ""


def in_parentheses(text: str) -> str:
    """Add words in parentheses, if there are any."""
    return f" ({text})" if text else ""
