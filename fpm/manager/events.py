"""What happens in a manager, as values: each is an entry of its log. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What an entry is about."""

    READY = "ready"
    """All pools serve, or have failed."""
    STARTED = "started"
    """A worker."""
    EXITED = "exited"
    """A worker, or a template."""
    FAILED = "failed"
    """A pool's application does not start."""
    SLOW = "slow"
    """A request is over request_slowlog_timeout."""
    TIMED_OUT = "timed out"
    """A request is over request_terminate_timeout or background_timeout."""
    RELOADED = "reloaded"
    REFUSED = "refused"
    """A reload was; nothing has changed."""
    OUTPUT = "output"
    """A worker has written something."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the log."""

    time: float
    """Epoch seconds, when the program has read it."""
    level: str
    """DEBUG, NOTICE, WARNING, ERROR or ALERT; "" for a line in no form (`decorate_workers_output = no`)."""
    pool: str
    """"" for the whole manager."""
    pid: int
    """Of the worker that it is about; 0: of none."""
    kind: Kind
    text: str
    """Without time, level and pool."""

    @property
    def is_trouble(self) -> bool:
        """Is it of level WARNING or above?"""
        return self.level in ("WARNING", "ERROR", "ALERT")


_LINE = re.compile(
    r"\[[^\]\n]{11,40}\] (DEBUG|NOTICE|WARNING|ERROR|ALERT): (?:pid \d+: )?(?:\[pool ([^\]\n]*)\] )?(.*)"
)
_CHILD = re.compile(r"(?:child|template) (\d+)\b")
_KINDS = (
    (Kind.OUTPUT, re.compile(r"(?:child \d+|template|the template|launcher)[^:]* said into ")),
    (Kind.READY, re.compile(r"ready to handle connections")),
    (Kind.STARTED, re.compile(r"child \d+ started")),
    (Kind.EXITED, re.compile(r"(?:child|template) \d+ exited ")),
    (Kind.FAILED, re.compile(r"failed to start: ")),
    (Kind.SLOW, re.compile(r"child .*executing too slow ")),
    (Kind.TIMED_OUT, re.compile(r"child .*execution timed out ")),
    (Kind.RELOADED, re.compile(r"reload finished")),
    (Kind.REFUSED, re.compile(r"reload (?:given up|failed)")),
)


def parse_event(line: str, now: float) -> Event:
    """An entry from a line of the log."""
    match = _LINE.fullmatch(line)
    if match is None:
        return Event(now, "", "", 0, Kind.OUTPUT, line)
    level, pool, text = match[1], match[2] or "", match[3]
    child = _CHILD.match(text)
    kind = next((kind for kind, pattern in _KINDS if pattern.match(text)), Kind.OTHER)
    return Event(now, level, pool, int(child[1]) if child else 0, kind, text)
