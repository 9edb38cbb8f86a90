"""All that the daemon's own HTML pages, `pyfpm status` and `pyfpm top` show: plain values, drawn from one snapshot.

Times are epoch seconds unless they say otherwise; texts are as decoded (they may hold anything: control characters,
markup), whoever renders them escapes. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fpm.frozen import dataclass, known_fields
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.statistics import Statistics
from fpm.status.exceptions import SeenException
from fpm.status.figures import format_span
from fpm.status.model import PoolStatus
from fpm.status.past.recent import Mark, Moment, Recent


@dataclass(frozen=True, slots=True)
class LastReload:
    """The last reload of the daemon."""

    at: float
    ok: bool
    reason: str
    """Why it failed, or ""."""
    stack: tuple[str, ...] = ()
    """Of an application that could not be imported: the calls that led there, the newest first."""


def read_last_reload(values: Mapping[str, Any] | None) -> LastReload | None:
    """Read it from JSON, of this version of pyfpm or another; None: there was none.

    Raises:
        TypeError: one of the first three values is missing.
    """
    if values is None:
        return None
    return LastReload(**known_fields(LastReload, values) | {"stack": tuple(values.get("stack", ()))})


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
    has_answered: bool = False
    """Some of its running request's response was out."""


def read_death(values: Mapping[str, Any]) -> Death:
    """Read a certificate from JSON, which has lists for tuples, of this version of pyfpm or another.

    Raises:
        TypeError: one of the first six values is missing.
    """
    lists = {name: tuple(values.get(name, ())) for name in ("stack", "output")}
    return Death(**known_fields(Death, values) | lists)


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
    stack: tuple[str, ...] = ()
    """As in its last entry of the slow log, the newest call first; empty if there is none."""


def read_slow_request(values: Mapping[str, Any]) -> SlowRequest:
    """Read it from JSON, which has lists for tuples, of this version of pyfpm or another.

    Raises:
        TypeError: one of the first five values is missing.
    """
    return SlowRequest(**known_fields(SlowRequest, values) | {"stack": tuple(values.get("stack", ()))})


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
class Route:
    """What has been counted of the requests with one pattern of path, as `/orders/<n>`."""

    route: str
    """Decoded; "" stands for all that have no room of their own."""
    requests: int
    errors: int
    """Uncaught exceptions and responses of class 5xx."""
    time: float
    """Seconds, of all of them together, as is `cpu`."""
    cpu: float
    p95: float | None
    """Seconds."""
    growth: int
    """Bytes by which the memory peak of workers has grown in them."""
    buckets: tuple[int, ...] = ()
    """Their durations (fpm.scoreboard.route_table.bucket_of)."""


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
    user: str = ""
    """Of its processes; "" if they keep the daemon's."""
    python: str = ""
    """Path of the interpreter, and its version if it has been started."""
    logs: tuple[tuple[str, str], ...] = ()
    """error, access and slow, as far as there are: the path or the target."""
    limits: tuple[tuple[str, str], ...] = ()
    """Directives that bound its processes and requests, with their values in words."""
    statistics: Statistics = Statistics()
    """Since the daemon's start."""
    recent: Recent | None = None
    """None: nobody keeps a history, or not yet."""
    marks: tuple[Mark, ...] = ()
    """What has happened within the history, the oldest first."""
    routes: tuple[Route, ...] = ()
    """The busiest first; empty where they were not asked for, or are not counted."""
    exceptions: tuple[SeenException, ...] = ()
    """The one that has come last first; a few."""

    @property
    def trouble(self) -> str:
        """Say what is wrong with it, after its name; "" if nothing is."""
        words = "has failed" if self.state == "failed" else "cannot be reached"
        return f"{words}: {self.error}" if self.error else ""

    @property
    def unready(self) -> str:
        """Say in a word why it cannot serve; "" if it can."""
        if self.ready:
            return ""
        return "unreachable" if self.state in ("running", "idle") else self.state

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
    executed: float = 0.0
    """When its program began, which is later than `started` after an upgrade; 0.0: not known."""


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
    explanation: str = ""
    """What is going on with it, in a paragraph; "" if there is nothing to say."""
