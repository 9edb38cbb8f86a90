"""What all events have. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import field

from fpm.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that has happened.

    Attributes:
        pool: the pool's name; "" for the whole manager.
        pid: of the process that it is about; 0: of none, or not known.
        time: epoch seconds at which it was emitted. The emitter of an event leaves this, level and text alone.
        level: DEBUG, NOTICE, WARNING, ERROR or ALERT; "" for what the error log does not show with a level.
        text: one sentence, without time, level and pool; may have several lines.
    """

    pool: str = ""
    pid: int = 0
    time: float = field(default=0.0, compare=False)
    level: str = field(default="", compare=False)
    text: str = field(default="", compare=False)

    @property
    def kind(self) -> str:
        """The name of the class as JSON has it: worker_started for WorkerStarted."""
        return kind_of(type(self))

    @property
    def is_problem(self) -> bool:
        """Is it of level WARNING or above?"""
        return self.level in ("WARNING", "ERROR", "ALERT")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolEvent(Event):
    """Something that has happened in a pool."""

    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEvent(PoolEvent):
    """Something that has happened to a process of a pool, or that it has done."""

    pid: int


Emit = Callable[[Event], object]
"""Takes what has happened."""


def kind_of(event: type[Event]) -> str:
    """See Event.kind."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower()
