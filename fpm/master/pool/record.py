"""What a pool remembers for those who look: its counters, the last deaths and the last slow requests.

Pure. The counters go to the scoreboard's header, so that the workers' own pages show them; the lists only to the
daemon's pages.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from fpm.config.model import PoolConfig
from fpm.log.escape import decode_wire
from fpm.master.processes.exits import CORE_FLAG
from fpm.master.processes.exits import Exit
from fpm.scoreboard.header import HeaderValues
from fpm.scoreboard.layout import FLAG_FAILED
from fpm.scoreboard.layout import FLAG_RELOAD_FAILED
from fpm.scoreboard.snapshot import Slot
from fpm.scoreboard.stages import Stage
from fpm.status.extras import UNKNOWN_STATUS
from fpm.status.extras import describe_death
from fpm.status.overview import Death
from fpm.status.overview import SlowRequest

KEPT = 20
"""Deaths, and slow requests, of which the particulars are kept."""
SIGKILL = 9
SIGTERM = 15


@dataclass(frozen=True, slots=True)
class Failing:
    """A pool whose application does not start. Epoch seconds."""

    since: float
    starts: int
    """Failed ones in a row."""
    next_start: float


class Record:
    """One pool's memory. `now` is epoch seconds."""

    def __init__(self, config: PoolConfig, now: float) -> None:
        self.values = HeaderValues(start_time=now)
        self.deaths: deque[Death] = deque(maxlen=KEPT)
        """The newest first, as are the slow requests."""
        self.slow: deque[SlowRequest] = deque(maxlen=KEPT)
        self.take_config(config)

    def take_config(self, config: PoolConfig) -> None:
        """The limits that are shown."""
        values = self.values
        values.max_children = config.pm_max_children
        values.min_spare = config.pm_min_spare_servers
        values.max_spare = config.pm_max_spare_servers
        values.max_requests = config.pm_max_requests
        values.background_max = config.pm_background_max
        values.slow_limit = int(config.request_slowlog_timeout * 1e6)

    def reloaded(self, now: float, *, ok: bool) -> None:
        """A reload has ended."""
        self.values.last_reload = now
        self._set_flag(FLAG_RELOAD_FAILED, not ok)

    def failing(self, failing: Failing | None) -> None:
        """Whether the application starts."""
        values = self.values
        self._set_flag(FLAG_FAILED, failing is not None)
        values.failed_since = failing.since if failing else 0.0
        values.start_failures = failing.starts if failing else 0
        values.next_start = failing.next_start if failing else 0.0

    def slow_request(self, pid: int, request: str, seconds: float, now: float) -> None:
        """A request has taken longer than request_slowlog_timeout."""
        self.slow.appendleft(SlowRequest(now, pid, seconds, request, running=False))

    def worker_gone(self, exit_: Exit, slot: Slot, *, pid: int, age: float, told: str, ended: bool, now: float) -> None:
        """A worker has ended.

        Args:
            told: why the master had told it to leave, or "".
            ended: the master has ended it, because it had not left or not started in time.
        """
        if told == "max_requests":
            self.values.recycled += 1
        if not _is_death(exit_, told, ended):
            return
        self._count(exit_, ended)
        self.values.last_death = now
        self.values.last_death_status = _status_of(exit_)
        busy = slot.stage > Stage.ACCEPTING and slot.method
        query = f"?{slot.query}" if slot.query else ""
        request = decode_wire(f"{slot.method} {slot.uri}{query}") if busy else ""
        cause = describe_death(_status_of(exit_)) + (f", ended by the master ({told})" if ended else "")
        self.deaths.appendleft(Death(now, pid, cause, age, slot.requests, request))

    def _count(self, exit_: Exit, ended: bool) -> None:
        values = self.values
        if ended:
            values.deaths_by_timeout += 1
        elif exit_.signal == SIGKILL:
            values.deaths_by_kill += 1
        elif exit_.signal is not None:
            values.deaths_by_signal += 1
        else:
            values.deaths_by_exit += 1

    def _set_flag(self, flag: int, on: bool) -> None:
        self.values.flags = self.values.flags | flag if on else self.values.flags & ~flag


def _is_death(exit_: Exit, told: str, ended: bool) -> bool:
    """One that does as it is told does not count; it may have been told by SIGTERM or, in a fast stop, SIGKILL."""
    if ended or not told:
        return True
    return exit_.code != 0 and exit_.signal not in (SIGTERM, SIGKILL)


def _status_of(exit_: Exit) -> int:
    """The wait status (wait(2)) that it comes from."""
    if exit_.signal is not None:
        return exit_.signal | (CORE_FLAG if exit_.core else 0)
    return UNKNOWN_STATUS if exit_.code is None else exit_.code << 8
