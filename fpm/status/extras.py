"""What pyfpm's status page tells beyond PHP-FPM's keys; it stands after theirs.

The keys keep to what parsers of PHP-FPM's page allow (ecosystem.md 1.2): none begins with idle, active or total, none
contains "pool", each is short enough to be followed by a blank in the text form, and values are whole numbers or
words without ": ".
"""

from __future__ import annotations

from dataclasses import dataclass


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
    """By a SIGKILL that is not the master's: mostly the kernel, out of memory."""
    deaths_by_timeout: int
    """Ended by the master because they had not left, or not started, in time."""
    last_death: int
    last_death_cause: str
    """As in "on signal 9 (SIGKILL)"; "-" if there was none."""
    queue_wait: int | None = None
    """Milliseconds that the last one in the listen queue will wait at the present rate; None: not known."""
    memory_pss: int | None = None
    """Bytes of all workers together, shared pages counted once; None: not known."""
