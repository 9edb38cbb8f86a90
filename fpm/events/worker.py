"""Events of workers and of their requests; the output and the death of any process of a pool. Pure.

A request is given as its method and URI, as decoded and not escaped. `doing` says in words what is unusual about its
stage ("" while the application runs); `no_stack` why there is no stack, a clause, "" if there is one.
"""

from __future__ import annotations

from typing import Literal

from fpm.events.base import ProcessEvent
from fpm.frozen import dataclass
from fpm.status.overview import Death


@dataclass(frozen=True, slots=True)
class WorkerStarted(ProcessEvent):
    """A worker is ready."""

    is_routine: bool
    """The pool has served before."""


@dataclass(frozen=True, slots=True)
class WorkerExited(ProcessEvent):
    """A worker has left as it was told."""

    cause: str
    """As in "with code 0"."""
    code: int | None
    age: float
    """Seconds that it lived."""
    reason: str
    """Why the master had told it to leave."""


@dataclass(frozen=True, slots=True)
class ProcessDied(ProcessEvent):
    """A worker, a template or a 503 responder has exited unexpectedly, or was terminated by the master."""

    death: Death
    """Complete with what happens next."""
    status: int | None = None
    """As in wait(2); None: nobody could tell."""
    script: str = ""
    """The `app` directive, of a worker."""
    stack_in: str = "the slow log"
    """Where the whole stack can be read, if one was taken; "": nowhere, the process has told these calls."""
    is_logged: bool = False
    """Another event has said it."""


@dataclass(frozen=True, slots=True)
class WorkerKept(ProcessEvent):
    """A worker serves on past its limit, for nothing can replace it."""

    limit: str
    """max_requests or max_memory."""


@dataclass(frozen=True, slots=True)
class WorkerOverMemory(ProcessEvent):
    """A worker is replaced because of pm.max_memory. Sizes are bytes."""

    memory: int
    limit: int
    requests: int
    request: str = ""
    """The one that runs, when the master has noticed it during that."""


@dataclass(frozen=True, slots=True)
class WorkerDiscarded(ProcessEvent):
    """An idle worker is above pm.max_memory_hard. Sizes are bytes."""

    memory: int
    limit: int


@dataclass(frozen=True, slots=True)
class WorkerKilledForMemory(ProcessEvent):
    """A worker is above pm.max_memory_hard. Sizes are bytes."""

    request: str
    """Empty without one."""
    seconds: float
    """That it has run; without one, since the worker was made."""
    memory: int
    limit: int
    doing: str
    no_stack: str


@dataclass(frozen=True, slots=True)
class WorkerReclaimed(ProcessEvent):
    """A worker leaves, after its request, because its pool is above pm.memory_hard. Sizes are bytes."""

    memory: int
    request: str
    """Empty if it is idle."""


@dataclass(frozen=True, slots=True)
class MemoryLimitLow(ProcessEvent):
    """A young worker has exceeded pm.max_memory: it seems to be less than the application needs."""

    limit: int
    requests: int
    age: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class MemoryLimitNotApplied(ProcessEvent):
    """A worker exceeds pm.max_memory before its first request."""

    memory: int
    limit: int


@dataclass(frozen=True, slots=True)
class WorkerSignalled(ProcessEvent):
    """A worker has not left in time."""

    signal: str
    """SIGTERM or SIGKILL."""
    reason: str
    """Why it was told to leave; "" if it has closed its channel."""
    request: str = ""
    """Its current one."""
    doing: str = ""
    no_stack: str = ""


@dataclass(frozen=True, slots=True)
class SigtermIgnored(ProcessEvent):
    """A worker whose request is over a limit has not exited on SIGTERM; it gets SIGKILL."""

    limit: str
    """The directive."""


@dataclass(frozen=True, slots=True)
class SigkillPending(ProcessEvent):
    """A worker does not exit on SIGKILL: it is in uninterruptible sleep."""


@dataclass(frozen=True, slots=True)
class StrangerRejected(ProcessEvent):
    """A process that is no worker has sent a message in the place of one."""


@dataclass(frozen=True, slots=True)
class IdentityChanged(ProcessEvent):
    """A process of a pool has become another user's; it is told once."""

    uid: int
    """Effective, as the next."""
    gid: int


@dataclass(frozen=True, slots=True)
class MessageRefused(ProcessEvent):
    """A worker or a template has sent a message that is not what it should be; it is told once."""

    who: Literal["worker", "template"]
    error: str


@dataclass(frozen=True, slots=True)
class WorkerLogged(ProcessEvent):
    """A worker says something for the error log, such as the traceback of a request."""

    severity: str
    """debug, notice, warning, error or alert."""
    message: str
    request: str = ""
    """"" if it is about none."""


@dataclass(frozen=True, slots=True)
class ProcessOutput(ProcessEvent):
    """A worker or a template has written a line to its standard output or error."""

    who: Literal["worker", "template"]
    stream: str
    """stdout or stderr."""
    line: str
    """Escaped."""
    is_decorated: bool = True
    """The pool's decorate_workers_output; without it the log has the bare line."""
    is_closed: bool = False
    """The line had no end when the process went."""


# -------------------------------------------------------------------- requests


@dataclass(frozen=True, slots=True)
class RequestSlow(ProcessEvent):
    """A request that still runs is over request_slowlog_timeout."""

    script: str
    request: str
    seconds: float
    doing: str = ""


@dataclass(frozen=True, slots=True)
class SlowRequestEnded(ProcessEvent):
    """A request that took longer than request_slowlog_timeout has ended."""

    request: str
    seconds: float
    stack: tuple[str, ...] = ()
    """As in its last entry of the slow log, the newest call first; empty if there is none."""


@dataclass(frozen=True, slots=True)
class RequestTimedOut(ProcessEvent):
    """A request is over request_terminate_timeout or background_timeout."""

    script: str
    request: str
    seconds: float
    limit: str
    """The directive."""
    action: Literal["interrupting", "terminating"]
    """fpm.RequestTimeout is raised in it, or its worker gets SIGTERM."""
    doing: str = ""
    no_stack: str = ""
    again: bool = False
    """It has been interrupted before because of the same limit."""


@dataclass(frozen=True, slots=True)
class RequestCutOff(ProcessEvent):
    """A worker gets SIGTERM while it has a request."""

    request: str
    seconds: float
    reason: str
    """Why the worker must leave."""
    doing: str = ""
