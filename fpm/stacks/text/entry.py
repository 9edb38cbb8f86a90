"""One entry of a slow log as a value."""

from __future__ import annotations

from typing import Literal, get_args

from fpm.frozen import dataclass
from fpm.stacks.trace import Trace

Reason = Literal["slow", "interrupt", "terminate", "background", "memory", "stop", "startup", "trace", "end"]
"""Why the stack was taken: request_slowlog_timeout, request_interrupt, request_terminate_timeout, background_timeout,
pm.max_memory_hard, a worker that does not leave in time, one that does not start in time, `pyfpm trace`. "end" is no
stack: a request that has an entry is over, and `seconds` is what it has taken."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a request, and the stack at that moment. Texts are decoded and not escaped."""

    time: float
    """Epoch seconds."""
    pool: str
    pid: int
    reason: Reason
    script: str
    """The `app` directive."""
    method: str
    """"" if the process had no request."""
    uri: str
    """Path and query."""
    seconds: float
    """Since the request's variables were there; since the process began if it has no request."""
    stage: str
    """What the worker's slot said, in words: "running", "reading the request's body", "sending the response",
    "after the response"; of an end "complete", or "cut off" with the worker."""
    sample: int
    """1 for the first entry of a request, 2 for the next (request_slowlog_interval)."""
    trace: Trace


def as_reason(word: str) -> Reason:
    """Return the reason that a log names; "slow" where it names none, as PHP-FPM's logs do."""
    return next((reason for reason in get_args(Reason) if reason == word), "slow")
