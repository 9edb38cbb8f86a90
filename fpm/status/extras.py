"""What pyfpm's status page tells beyond PHP-FPM's keys; it stands after theirs.

The keys keep to what parsers of PHP-FPM's page allow (ecosystem.md 1.2): none begins with idle, active or total, none
contains "pool", each is short enough to be followed by a blank in the text form, and values are whole numbers or
words without ": ".
"""

from __future__ import annotations

from dataclasses import dataclass
from signal import Signals

from fpm.scoreboard.layout import FLAG_FAILED, FLAG_RELOAD_FAILED
from fpm.scoreboard.snapshot import Board
from fpm.scoreboard.stages import Stage
from fpm.status.model import background_age

UNKNOWN_STATUS = 0xFFFFFFFF
"""In place of a wait status that nobody could tell."""


@dataclass(frozen=True, slots=True)
class PoolExtras:
    """One pool, beside its PoolStatus. Times are epoch seconds, 0: never."""

    generation: int
    last_reload: int
    last_reload_failed: bool
    failed: bool
    """The application does not start; clients get 503 unless workers of a former generation serve."""
    failed_since: int
    start_failures: int
    """In a row."""
    next_start: int
    """When the start is tried again."""
    max_children: int
    min_spare: int
    max_spare: int
    max_requests: int
    busy_percent: int
    """Active workers of max_children."""
    background: int
    """Workers that go on after their answer (fpm.finish_request, fpm.after_response)."""
    errors: int
    """Requests that ended in an uncaught exception of the application."""
    recycled: int
    """Workers that have left at pm.max_requests."""
    deaths_by_exit: int
    """Workers that have ended unasked with an exit code."""
    deaths_by_signal: int
    """By a signal of their own making (SIGSEGV, SIGABRT ...)."""
    deaths_by_kill: int
    """By a SIGKILL that is neither the master's nor the kernel's for lack of memory, as far as that is known."""
    deaths_by_timeout: int
    """Ended by the master because they had not left, or not started, in time."""
    last_death: int
    last_death_cause: str
    """As in "on signal 9 (SIGKILL)"; "-" if there was none."""
    deaths_by_oom: int = 0
    """Killed by the kernel for lack of memory."""
    recycled_memory: int = 0
    """Workers that have left at pm.max_memory."""
    background_oldest: int = 0
    """Seconds for which the longest work after a response has been going on."""
    background_early: int = 0
    """Requests whose work ran before the response, because there were background_max workers in it."""
    background_max: int = 0
    """0: no limit."""
    queue_wait: int | None = None
    """Milliseconds that the last one in the listen queue will wait at the present rate; None: not known."""
    memory_pss: int | None = None
    """Bytes of all workers together, shared pages counted once; None: not known."""


def build_extras(
    board: Board, now: float, *, queue_wait: int | None = None, memory_pss: int | None = None
) -> PoolExtras:
    """What one reading of the scoreboard tells at `now` (epoch seconds), and what only the caller knows."""
    header = board.header
    used = board.used
    active = sum(slot.stage is not Stage.ACCEPTING for slot in used)
    background = [slot for slot in used if slot.stage is Stage.FINISHED]
    return PoolExtras(
        generation=header.generation,
        last_reload=int(header.last_reload),
        last_reload_failed=bool(header.flags & FLAG_RELOAD_FAILED),
        failed=bool(header.flags & FLAG_FAILED),
        failed_since=int(header.failed_since),
        start_failures=header.start_failures,
        next_start=int(header.next_start),
        max_children=header.max_children,
        min_spare=header.min_spare,
        max_spare=header.max_spare,
        max_requests=header.max_requests,
        busy_percent=min(100 * active // header.max_children, 100) if header.max_children else 0,
        background=len(background),
        errors=header.errors + sum(slot.errors for slot in used),
        recycled=header.recycled,
        deaths_by_exit=header.deaths_by_exit,
        deaths_by_signal=header.deaths_by_signal,
        deaths_by_kill=header.deaths_by_kill,
        deaths_by_timeout=header.deaths_by_timeout,
        deaths_by_oom=header.deaths_by_oom,
        recycled_memory=header.recycled_memory,
        last_death=int(header.last_death),
        last_death_cause=describe_death(header.last_death_status) if header.last_death else "-",
        background_oldest=int(max([background_age(slot, now) for slot in background], default=0)),
        background_early=header.background_early + sum(slot.background_early for slot in used),
        background_max=header.background_max,
        queue_wait=queue_wait,
        memory_pss=memory_pss,
    )


def describe_death(status: int) -> str:
    """A wait status (wait(2)) in words: "with code 3", "on signal 9 (SIGKILL)"."""
    number = status & 0x7F
    if status == UNKNOWN_STATUS:
        return "in an unknown way"
    if not number:
        return f"with code {status >> 8 & 0xFF}"
    try:
        return f"on signal {number} ({Signals(number).name})"
    except ValueError:
        return f"on signal {number}"
