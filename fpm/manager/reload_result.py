"""How a reload has ended. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reloaded:
    """True in a condition if the new generations serve; otherwise nothing has changed."""

    ok: bool
    steps: tuple[str, ...]
    """What has been done, in order."""
    complaints: tuple[str, ...]
    """Why it was refused."""
    traceback: str
    """Of an application that could not be imported."""

    def __bool__(self) -> bool:
        return self.ok


def read_outcome(answer: Mapping[str, Any], steps: list[str]) -> Reloaded:
    """From the master's last answer."""
    return Reloaded(
        ok=bool(answer.get("ok")),
        steps=tuple(steps),
        complaints=tuple(str(complaint) for complaint in answer.get("complaints", ())),
        traceback=str(answer.get("traceback") or ""),
    )
