"""A reading of the scoreboard as values: what the status page, the process manager and the deadlines look at. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from fpm.frozen import dataclass
from fpm.scoreboard.number import COUNT, TIME, UINT, codes_of, number
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.stages import Stage

METHOD_SIZE = 16
URI_SIZE = 512
QUERY_SIZE = 512
SCRIPT_SIZE = 256
USER_SIZE = 32
TASK_SIZE = 96
TASKS_SIZE = 192
PID_MAX = 2**22
"""The kernel's own bound, PID_MAX_LIMIT; see proc(5)."""


def _text(size: int) -> Any:
    return number(f"{size}s", default="")


@dataclass(frozen=True, slots=True)
class Slot:
    """One worker and its current request, or its last one when it is idle.

    The slot in the scoreboard holds the fields that have a code, in this order; texts are bytes as latin-1. New ones
    come at the end.
    """

    index: int
    stage: Stage
    pid: int = number(UINT)
    """0 while it is not known."""
    start_time: float = number(TIME)
    requests: int = number(COUNT)
    request_start: float = number(TIME)
    """Epoch seconds; 0.0 before the first request."""
    duration: int = number(COUNT)
    """Microseconds; 0 while the request runs."""
    cpu: int = number(COUNT)
    """Microseconds of CPU time of the last request."""
    content_length: int = number(COUNT)
    slow_requests: int = number(UINT)
    """Requests that took longer than the pool's slow_limit; the current one is not among them."""
    memory_peak: int = number(COUNT)
    """Bytes."""
    max_active: int = number(UINT)
    """The most busy workers that this one has counted when it took a request."""
    method: str = _text(METHOD_SIZE)
    uri: str = _text(URI_SIZE)
    """The path without the query."""
    query: str = _text(QUERY_SIZE)
    began: float = number(TIME)
    """The request's start once more, monotonic seconds: for deadlines, as nobody can set this clock."""
    script: str = _text(SCRIPT_SIZE)
    user: str = _text(USER_SIZE)
    """The authenticated one."""
    errors: int = number(UINT)
    """Requests that ended in an uncaught exception of the application."""
    background_early: int = number(UINT)
    """Requests whose work after the response ran before it (pm.background_max)."""
    waiting: int = number(UINT)
    """Functions for after the response that have not begun yet."""
    released: float = number(TIME)
    """When the response was complete, epoch seconds, while the worker goes on with the request; 0.0 otherwise."""
    task: str = _text(TASKS_SIZE)
    """The name of the function that runs after the response; in the scoreboard those of `later` follow, a line each."""
    freed: float = number(TIME)
    """`released` once more, monotonic seconds."""
    interrupt: int = number(UINT)
    """The master's: the request (as in `requests`, modulo 2**32) to interrupt; the worker makes it 0 when it has."""
    sent: float = number(TIME)
    """When the first bytes of a response were out, monotonic seconds; of an earlier request if it is before `began`.
    One that goes out at once, with nothing left to be done, need not be told."""
    later: tuple[str, ...] = ()
    """The names of those that wait; the first ones, and the last may be cut."""

    @property
    def has_answered(self) -> bool:
        """Is some of the present request's response out?"""
        return self.sent >= self.began > 0.0

    def is_slow(self, pool: PoolNumbers, now: float) -> bool:
        """Has the current request taken longer than its pool's limit at `now` (epoch seconds)?

        One that was over it at its response is not counted here: its worker has done that.
        """
        limit = pool.slow_limit / 1e6
        if not limit or self.stage <= Stage.ACCEPTING or self.request_start <= 0.0 or self.duration:
            return False
        tracked = pool.tracks_finished and self.released - self.request_start <= limit
        return now - self.request_start > limit and bool(tracked or not self.released)


SLOT_CODES = codes_of(Slot)


class Clocks(NamedTuple):
    """Of a slot, what limits are measured by; the attributes are those of Slot."""

    requests: int
    duration: int
    began: float
    freed: float


@dataclass(frozen=True, slots=True)
class Board:
    """One reading of a whole scoreboard; `slots[i]` is None where slot i has no worker."""

    header: PoolNumbers
    slots: tuple[Slot | None, ...]

    @property
    def used(self) -> list[Slot]:
        """The slots that have a worker, in order."""
        return [slot for slot in self.slots if slot is not None]


@dataclass(frozen=True, slots=True)
class ListenQueue:
    """Connections that the kernel holds for a listening socket, and how many it holds at most; 0, 0: not known."""

    length: int
    maximum: int
