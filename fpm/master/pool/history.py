"""What a pool remembers for those who look: its counters, the last deaths, slow requests and exceptions.

Pure. The counters go to the scoreboard's header, so that the workers' own pages show them; the lists only to the
daemon's pages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from signal import Signals
from typing import Any

from fpm.config.model import PoolConfig
from fpm.events.base import Event
from fpm.events.pool import MaxChildrenReached
from fpm.events.worker import ProcessDied, RequestTimedOut, SlowRequestEnded, WorkerExited, WorkerLogged
from fpm.frozen import dataclass
from fpm.master.pool.exceptions import ExceptionMemory
from fpm.master.processes.exits import Exit
from fpm.scoreboard.number import UNKNOWN_STATUS
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.reading import absorb
from fpm.scoreboard.snapshot import Slot
from fpm.status.overview import Death, SlowRequest, read_death, read_slow_request

KEPT = 20
"""Deaths, and slow requests, of which the particulars are kept."""
STOP = "stop"
"""Why workers leave when the pool ends."""
MAX_REQUESTS = "max_requests"
MAX_MEMORY = "max_memory"
MAX_MEMORY_HARD = "pm.max_memory_hard"
MEMORY_SOFT = "pm.memory_soft"
MEMORY_HARD = "pm.memory_hard"
"""The pool as a whole is above it."""
STOP_SIGNALS = frozenset({Signals.SIGTERM, Signals.SIGKILL})


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
        self.values = PoolNumbers(start_time=now)
        self.deaths: deque[Death] = deque(maxlen=KEPT)
        """The newest first, as are the slow requests."""
        self.slow: deque[SlowRequest] = deque(maxlen=KEPT)
        self.exceptions = ExceptionMemory()
        self.take_config(config)

    def dump(self) -> dict[str, Any]:
        """Describe it for the next master."""
        return {
            "values": asdict(self.values),
            "deaths": [asdict(death) for death in self.deaths],
            "slow": [asdict(request) for request in self.slow],
            "exceptions": self.exceptions.dump(),
        }

    def restore(self, state: Mapping[str, Any], config: PoolConfig) -> None:
        """Go on where `dump` was, of a program that may have known fewer values."""
        for name in {one.name for one in fields(self.values)} & set(state["values"]):
            setattr(self.values, name, state["values"][name])
        self.take_config(config)
        self.deaths.extend(read_death(death) for death in state["deaths"])
        self.slow.extend(map(read_slow_request, state["slow"]))
        self.exceptions.restore(state.get("exceptions", ()))

    def inherit(self, former: Record, slots: Sequence[Slot], now: float, config: PoolConfig) -> None:
        """Go on from another record, whose pool has workers that have counted in these slots."""
        values = replace(former.values)
        absorb(values, slots, now)
        self.restore(former.dump() | {"values": asdict(values)}, config)

    def take_config(self, config: PoolConfig) -> None:
        """The limits that are shown."""
        values = self.values
        values.max_children = config.pm_max_children
        values.min_spare = config.pm_min_spare_servers
        values.max_spare = config.pm_max_spare_servers
        values.max_requests = config.pm_max_requests
        values.background_max = config.pm_background_max
        values.slow_limit = int(config.request_slowlog_timeout * 1e6)
        values.tracks_finished = config.request_terminate_timeout_track_finished

    def reloaded(self, now: float, *, ok: bool) -> None:
        """A reload has ended."""
        self.values.last_reload = now
        self.values.last_reload_failed = not ok

    def failing(self, failing: Failing | None) -> None:
        """Whether the application starts."""
        values = self.values
        values.failed = failing is not None
        values.failed_since = failing.since if failing else 0.0
        values.start_failures = failing.starts if failing else 0
        values.next_start = failing.next_start if failing else 0.0

    def take(self, event: Event) -> None:
        """Remember what has happened, as far as it is shown."""
        if isinstance(event, SlowRequestEnded):
            ended = SlowRequest(event.time, event.pid, event.seconds, event.request, running=False, stack=event.stack)
            self.slow.appendleft(ended)
        elif isinstance(event, WorkerLogged):
            self.exceptions.take(event)
        elif isinstance(event, RequestTimedOut):
            self.values.timeouts += event.limit == "request_terminate_timeout" and not event.again
        elif isinstance(event, MaxChildrenReached):
            self.values.max_children_reached += 1
        elif isinstance(event, WorkerExited):
            self._count_leaving(event.reason)
        elif isinstance(event, ProcessDied):
            self.deaths.appendleft(event.death)
            if event.death.who == "worker":
                self._count_death(event)

    def _count_leaving(self, told: str) -> None:
        if told == MAX_REQUESTS:
            self.values.recycled += 1
        elif told == MAX_MEMORY:
            self.values.recycled_memory += 1

    def _count_death(self, event: ProcessDied) -> None:
        values, death = self.values, event.death
        self._count_leaving(death.retire_reason)
        values.last_death = death.at
        values.last_death_status = UNKNOWN_STATUS if event.status is None else event.status
        if death.killed_by_master and death.retire_reason == MAX_MEMORY_HARD:
            values.deaths_by_memory += 1
        elif death.killed_by_master:
            values.deaths_by_timeout += 1
        elif death.oom == "yes":
            values.deaths_by_oom += 1
        elif death.signal == Signals.SIGKILL.name:
            values.deaths_by_kill += 1
        elif death.signal:
            values.deaths_by_signal += 1
        else:
            values.deaths_by_exit += 1


def is_death(exit_: Exit, told: str, *, ended: bool) -> bool:
    """Does this end need a certificate? One that does as it is told needs none; in a stop it may be told by signals.

    Args:
        told: why the master had told it to leave, or "".
        ended: the master has ended it, because it had not left or not started in time.
    """
    if ended or not told:
        return True
    is_known = exit_.code is not None or exit_.signal is not None
    excused = told == STOP and (exit_.signal in STOP_SIGNALS or not is_known)
    return exit_.code != 0 and not excused
