"""Events of one pool: its templates, its logs, how many workers it has. Pure."""

from __future__ import annotations

from typing import Literal

from fpm.events.base import PoolEvent, ProcessEvent
from fpm.frozen import dataclass

PoolLimit = Literal["pm.memory_soft", "pm.memory_hard"]


@dataclass(frozen=True, slots=True)
class PoolFailed(PoolEvent):
    """Its application does not start: clients get 503."""

    error: str
    traceback: str
    pause: float
    """Seconds until the next try."""
    traceback_logged: bool = False
    """The process has written it to its standard error, which is in the log already."""


@dataclass(frozen=True, slots=True)
class PoolRecovered(PoolEvent):
    """Its application has started after a failure."""


@dataclass(frozen=True, slots=True)
class StatusListenFailed(PoolEvent):
    """The address of its status page (pm.status_listen) cannot be had; it serves without."""

    error: str


@dataclass(frozen=True, slots=True)
class PoolChangeFailed(PoolEvent):
    """A change that a reload brings cannot be applied to the running pool."""

    error: str


@dataclass(frozen=True, slots=True)
class SwapStalled(PoolEvent):
    """New workers do not become ready, so the reload ends while the former ones serve on."""


@dataclass(frozen=True, slots=True)
class EmergencyRestart(ProcessEvent):
    """Too many workers have crashed: the template is replaced. `pid` is that of the last one."""

    threshold: int
    interval: float
    """Seconds."""
    cause: str


@dataclass(frozen=True, slots=True)
class EmergencyRestartFailed(PoolEvent):
    """The new template does not start."""

    error: str


# -------------------------------------------------------------------- templates


@dataclass(frozen=True, slots=True)
class TemplateStarted(ProcessEvent):
    """A template imports the application."""

    generation: int


@dataclass(frozen=True, slots=True)
class TemplateReady(ProcessEvent):
    """A template can fork workers."""

    generation: int


@dataclass(frozen=True, slots=True)
class PlainHotPath(PoolEvent):
    """The workers of a generation have not got the compiled hot path, which they should have."""

    generation: int
    reason: str
    """A clause."""


@dataclass(frozen=True, slots=True)
class TemplateNotice(ProcessEvent):
    """A template says something about the application."""

    notice: str


@dataclass(frozen=True, slots=True)
class WarmupFailed(ProcessEvent):
    """A request of preload.warmup was not answered well in the template."""

    request: str
    """Method and path."""
    problem: str


@dataclass(frozen=True, slots=True)
class TemplateKilled(ProcessEvent):
    """The master kills a template."""

    reason: Literal["reload", "stop", "upgrade", "late"]
    """Its generation is given up; the pool stops, or pyfpm is upgraded, while it imports; it has not left in time."""
    age: float = 0.0
    """Seconds that it has been importing; only for "reload"."""
    no_stack: str = ""
    """Why there is no stack of it, a clause; "" if there is one, or none was wanted."""


@dataclass(frozen=True, slots=True)
class ForkFailed(ProcessEvent):
    """The template cannot fork."""

    error: str


@dataclass(frozen=True, slots=True)
class ResponderFailed(PoolEvent):
    """The process that answers 503 cannot be started."""

    error: str


@dataclass(frozen=True, slots=True)
class SocketShutDown(PoolEvent):
    """A process of the pool has called shutdown(2) on a socket that all of them share."""

    which: str
    """listening or parking."""
    error: str = ""
    """Why it cannot be replaced now; "" when that is about to be done."""


# -------------------------------------------------------------------- how many workers


@dataclass(frozen=True, slots=True)
class Scaled(PoolEvent):
    """The number of workers changes."""

    created: int
    """Workers that the template has been asked for."""
    retired: int
    reason: str
    idle: int
    """Before the change, as `active` and `starting`."""
    active: int
    starting: int


@dataclass(frozen=True, slots=True)
class MaxChildrenReached(PoolEvent):
    """More workers are wanted than pm.max_children allows."""

    limit: int


@dataclass(frozen=True, slots=True)
class PoolBusy(PoolEvent):
    """Many workers are created at once to keep up with pm.min_spare_servers."""

    created: int
    idle: int
    total: int


@dataclass(frozen=True, slots=True)
class PoolOverMemory(PoolEvent):
    """The pool has begun to use more memory than one of its limits. Sizes are bytes."""

    limit: PoolLimit
    size: int
    """Of the limit."""
    used: int


@dataclass(frozen=True, slots=True)
class PoolMemoryEased(PoolEvent):
    """The pool is well below a limit again that it has been above."""

    limit: PoolLimit
    size: int
    used: int


@dataclass(frozen=True, slots=True)
class WorkerNotCreated(PoolEvent):
    """There is no descriptor, or no memory, for another worker."""

    error: str
    """With what could not be done."""


# -------------------------------------------------------------------- logs and stacks


@dataclass(frozen=True, slots=True)
class AccessLogReopened(PoolEvent):
    """SIGUSR1, or `pyfpm reopen-logs`."""


@dataclass(frozen=True, slots=True)
class AccessLogFailed(PoolEvent):
    """The access log cannot be opened; the former file stays in use."""

    error: str


@dataclass(frozen=True, slots=True)
class SlowLogReopened(PoolEvent):
    """SIGUSR1, or `pyfpm reopen-logs`."""


@dataclass(frozen=True, slots=True)
class SlowLogFailed(PoolEvent):
    """The slow log cannot be used."""

    problem: Literal["open", "reopen", "recreate", "write"]
    reason: str
    path: str = ""
    """Of "open": the file that stays in use; "" if there is none, and entries go to the error log."""


@dataclass(frozen=True, slots=True)
class SlowLogRecreated(PoolEvent):
    """The file of the slow log had been removed."""

    path: str


@dataclass(frozen=True, slots=True)
class SlowLogRecovered(PoolEvent):
    """The slow log can be written again."""

    path: str


@dataclass(frozen=True, slots=True)
class StackLogged(ProcessEvent):
    """A stack that the slow log does not take, or for which there is none."""

    entry: str


@dataclass(frozen=True, slots=True)
class SlowRequestsSkipped(PoolEvent):
    """Of very many slow requests at once only some are logged."""

    at_once: float


@dataclass(frozen=True, slots=True)
class StacksUnavailable(PoolEvent):
    """A first try shows that stacks cannot be read."""

    reason: str


@dataclass(frozen=True, slots=True)
class StacksFromInside(PoolEvent):
    """The interpreter is not understood, so that processes write their stacks themselves."""

    reason: str
