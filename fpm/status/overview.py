"""All that the daemon's own HTML pages, `pyfpm status` and `pyfpm top` show: plain values, drawn from one snapshot.

Times are epoch seconds unless they say otherwise; texts are as decoded (they may hold anything: control characters,
markup), whoever renders them escapes. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from fpm.frozen import dataclass
from fpm.scoreboard.numbers import PoolNumbers
from fpm.status.figures import format_span
from fpm.status.model import PoolStatus


@dataclass(frozen=True, slots=True)
class LastReload:
    """The last reload of the daemon."""

    at: float
    ok: bool
    reason: str
    """Why it failed, or ""."""


@dataclass(frozen=True, slots=True)
class Death:
    """The certificate of a process that died unexpectedly, or was killed by the master because it did not exit."""

    at: float
    pid: int
    cause: str
    """As in "on signal 11 (SIGSEGV - core dumped)"."""
    age: float
    """Seconds that it lived."""
    requests: int
    request: str
    """Method and URI of its last request, or ""; `request_state` says whether it was still running."""
    who: str = "worker"
    """Or "template", "503 responder"."""
    code: int | None = None
    """Exit code; None if a signal ended it, or nobody could tell."""
    signal: str = ""
    """The signal's name, or ""."""
    core: str = ""
    """Where the core dump is, as far as the system tells; "" without one."""
    oom: str = ""
    """Killed by the kernel for lack of memory: "yes", "no" or "unknown"."""
    oom_note: str = ""
    """Which memory, or why it is not known; and who says so."""
    memory_events: str = ""
    """What the pool's cgroup had counted until then (memory.events): "high 12, max 3, oom 1, oom_kill 1"."""
    request_state: str = ""
    """"running", "after the response" (work in the background), "finished" (it was idle), or "" without a request."""
    request_age: float = 0.0
    """Seconds: how long it had been running, or in the background; how long ago it had finished."""
    task: str = ""
    """The function that ran after the response."""
    pending_tasks: str = ""
    """The functions for after the response that had not begun."""
    memory_peak: int = 0
    """Bytes; 0: not known."""
    cpu_user: float = 0.0
    """Seconds, as are those of `cpu_system`."""
    cpu_system: float = 0.0
    retire_reason: str = ""
    """Why the master had asked it to exit, or ""."""
    killed_by_master: bool = False
    stack: tuple[str, ...] = ()
    """Its last stack, if one was taken; the newest call first."""
    output: tuple[str, ...] = ()
    """Its last lines of output, if they tell of the end."""
    next_action: str = ""
    """What happens next: "respawned" ..."""


def read_death(values: Mapping[str, Any]) -> Death:
    """Read a certificate from JSON, which has lists for tuples, of this version of pyfpm or another.

    Raises:
        TypeError: one of the first six values is missing.
    """
    known = {one.name for one in fields(Death)} & set(values)
    own = {name: values[name] for name in known}
    for name in ("stack", "output"):
        own[name] = tuple(own.get(name, ()))
    return Death(**own)


@dataclass(frozen=True, slots=True)
class SlowRequest:
    """A request that took longer than request_slowlog_timeout."""

    at: float
    """When it ended; of one that still runs, now."""
    pid: int
    seconds: float
    request: str
    """Method and URI."""
    running: bool


@dataclass(frozen=True, slots=True)
class Worker:
    """What is shown of one worker."""

    pid: int
    state: str
    """PHP-FPM's words: Idle, Running, Finishing ..."""
    idle: bool
    age: float
    """Seconds since its start."""
    generation: int
    """0: not known."""
    leaving: str
    """Why the master has asked it to exit, or ""."""
    requests: int
    request_age: float
    """Seconds: how long the current request has been running; of an idle worker, how long its last one took."""
    request_method: str
    request_uri: str
    """With the query; "-" if there was none. Of an idle worker, its last."""
    user: str
    last_request_cpu: float
    """Percent of one core; 0 unless idle."""
    memory_peak: int
    """Bytes."""
    pss: int | None
    """Bytes; None: not known (yet)."""
    task: str = ""
    """The function that runs after the response."""
    task_age: float = 0.0
    """Seconds since the response was complete."""
    later: int = 0
    """Functions that wait behind it."""

    @property
    def background(self) -> str:
        """Say what it does after its response; "" for nothing."""
        if not self.task:
            return ""
        waiting = f", {self.later} more waiting" if self.later else ""
        return f"after the response: {self.task}, {format_span(self.task_age)}{waiting}"


@dataclass(frozen=True, slots=True)
class Moment:
    """One point of a pool's small history; there are points only for the time in which somebody was looking."""

    at: float
    idle: int
    active: int
    queue: int
    rate: float
    """Requests a second since the point before."""


@dataclass(frozen=True, slots=True)
class Pool:
    """What is shown of one pool."""

    name: str
    listen: str
    """Its address."""
    state: str
    """running, starting, idle (no process, nothing wrong), failed, stopping."""
    app: str
    ready: bool
    """Whether /readyz/NAME says yes."""
    status: PoolStatus
    directory: str
    """The target of `chdir` when the generation began; "" without one."""
    error: str
    """Why it has failed, or cannot be reached, or ""."""
    traceback: str
    rate: float | None
    """Requests a second of late; None: not known yet."""
    workers: tuple[Worker, ...]
    """Empty where only the overview was asked for."""
    history: tuple[Moment, ...]
    """The oldest first."""
    slow: tuple[SlowRequest, ...]
    """The newest first; a few."""
    deaths: tuple[Death, ...]
    """The newest first; a few."""

    @property
    def trouble(self) -> str:
        """Say what is wrong with it, after its name; "" if nothing is."""
        words = "has failed" if self.state == "failed" else "cannot be reached"
        return f"{words}: {self.error}" if self.error else ""

    @property
    def numbers(self) -> PoolNumbers:
        """Return the numbers of its status."""
        return self.status.numbers


@dataclass(frozen=True, slots=True)
class Daemon:
    """What is shown of the master."""

    version: str
    host: str
    pid: int
    file: str
    """Its configuration file."""
    started: float
    now: float
    """When the snapshot was taken."""
    draining: bool
    """It is stopping."""
    last_reload: LastReload | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything at a glance; pools in the order of the configuration, without their workers."""

    daemon: Daemon
    pools: tuple[Pool, ...]


@dataclass(frozen=True, slots=True)
class PoolPage:
    """One pool with its workers, and the daemon for the head of the page."""

    daemon: Daemon
    pool: Pool
