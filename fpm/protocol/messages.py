"""What the master, a template and a worker say to each other: a dataclass and one datagram for each message.

The wire form is a JSON object: "v" (VERSION), "kind" (the name of the class) and the fields. After an upgrade of pyfpm
a new master speaks with templates and workers of the former release: a new field gets a default, and only a message
whose meaning changes raises VERSION. What comes from a pool is not trusted: unpack() takes nothing that is not exactly
what is written here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from fpm.frozen import dataclass
from fpm.protocol.spec import WorkerSettings
from fpm.protocol.wire import Range, as_object, pack_message, read_object, unpack_message

VERSION = 1
SLOW_REQUEST_MAX = 1024
"""Characters of a slow request's method and URI that are told."""
PLAIN_REASON_MAX = 500
EXIT_CALLS = 12
"""Calls that a worker tells of which the newest is os._exit()."""

Level = Literal["debug", "notice", "warning", "error", "alert"]
SlotIndex = Annotated[int, Range(0, 65534)]
Pid = Annotated[int, Range(1, 2**22)]
"""Up to the kernel's own bound, PID_MAX_LIMIT (proc(5))."""
Bytes = Annotated[int, Range(0, 2**50)]
Count = Annotated[int, Range(0, 2**53 - 1)]
Seconds = Annotated[float, Range(0, 1e9)]

# ---------------------------------------------------------------- from a template to the master


@dataclass(frozen=True, slots=True)
class Entered:
    """The launcher has gone on in a pid namespace: the sender is the template from now on."""


@dataclass(frozen=True, slots=True)
class TemplateReady:
    """The template can fork workers."""

    preload: bool
    """It has imported the application; else each worker does."""
    python: str
    chdir: str
    """The application's working directory, symlinks resolved."""
    seconds: Seconds
    """How long the import has taken."""
    stack: bool
    """It writes its stack when it is asked (fpm.worker.self_dump)."""
    compiled: bool = False
    """Workers have the compiled hot path."""
    plain_reason: Annotated[str, Range(0, PLAIN_REASON_MAX)] = ""
    """Why not, a clause; "" if nothing is to be said of it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A launcher, a template or a worker cannot do its work, and ends."""

    stage: str
    error: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A line for the error log."""

    text: str


@dataclass(frozen=True, slots=True)
class WarmupFailed:
    """A request of preload.warmup was not answered well."""

    request: str
    """Method and path."""
    problem: str
    """What it was answered, or a traceback."""


@dataclass(frozen=True, slots=True)
class Forked:
    """The answer to Fork."""

    slot: SlotIndex
    pid: Pid


@dataclass(frozen=True, slots=True)
class ForkFailed:
    """The other answer to Fork."""

    slot: SlotIndex
    error: str


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """A worker has ended; the values are those of wait4(2): seconds, and KiB."""

    pid: Pid
    status: Annotated[int, Range(0, 0xFFFF)]
    user: Seconds
    system: Seconds
    maxrss: Annotated[int, Range(0, 2**40)]


@dataclass(frozen=True, slots=True)
class LayoutFound:
    """The answer to Calibrate, see fpm.stacks.layout, whose parse_layout() has to check it."""

    layout: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LayoutFailed:
    """The other answer to Calibrate."""

    error: str


# ---------------------------------------------------------------- from a worker to the master


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The worker can serve. It does, unless it was forked with `hold`."""

    stack: bool
    """See TemplateReady."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The answer to Serve."""


@dataclass(frozen=True, slots=True)
class LogText:
    """A line, or several, for the error log."""

    level: Level
    text: str
    request: str = ""
    """Method and URI; "" if it is about none."""


@dataclass(frozen=True, slots=True)
class LimitReached:
    """The worker has stopped accepting and waits for Quit, while its replacement is made."""

    requests: Count
    memory: Bytes
    """0: it has reached pm.max_requests; else pm.max_memory."""


@dataclass(frozen=True, slots=True)
class LargeAtStart:
    """The worker has exceeded pm.max_memory before its first request: the limit does not count for it."""

    memory: Bytes


@dataclass(frozen=True, slots=True)
class SlowRequest:
    """A request has taken longer than request_slowlog_timeout."""

    request: Annotated[str, Range(0, SLOW_REQUEST_MAX)]
    microseconds: Count
    number: Count = 0
    """As the worker counts its requests; 0: a worker of an older pyfpm does not say it."""


@dataclass(frozen=True, slots=True)
class Exiting:
    """The application has called os._exit()."""

    calls: list[str]
    """The newest first, as in "leave (/srv/shop/views.py:41)"."""


# ---------------------------------------------------------------- from the master


@dataclass(frozen=True, slots=True)
class Fork:
    """Fork a worker (to a template).

    With descriptors: the worker's channel, stdout, stderr, the memfd for its stack, and the access log if there is one.
    """

    slot: SlotIndex
    hold: bool
    """Accept nothing before Serve: this worker proves a new generation."""


@dataclass(frozen=True, slots=True)
class ApplySettings:
    """Serve, or fork workers, by new settings from now on; with the access log's descriptor if it has changed."""

    worker: WorkerSettings


@dataclass(frozen=True, slots=True)
class Calibrate:
    """Find the layout of the interpreter (to a template)."""


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave after the current request, or (a template) after the last worker."""

    final: bool = False
    """The pool ends; no other worker comes."""


@dataclass(frozen=True, slots=True)
class Reopen:
    """The access log was reopened; with its descriptor if there is one."""


@dataclass(frozen=True, slots=True)
class RecheckSockets:
    """A worker was killed that may have been woken for a connection: look whether there is one."""


@dataclass(frozen=True, slots=True)
class Serve:
    """Accept connections from now on (to a worker forked with `hold`)."""


@dataclass(frozen=True, slots=True)
class Named:
    """How the master calls a worker in a pid namespace, and its template: there they do not know."""

    pid: Pid
    parent: Pid


@dataclass(frozen=True, slots=True)
class Check:
    """Serve an internal request; it comes on the connected stream socket whose descriptor is with this message."""


Event = (
    Entered
    | TemplateReady
    | Failed
    | Notice
    | WarmupFailed
    | Forked
    | ForkFailed
    | WorkerExited
    | LayoutFound
    | LayoutFailed
    | WorkerReady
    | Serving
    | LogText
    | LimitReached
    | LargeAtStart
    | SlowRequest
    | Exiting
)
"""What comes from a pool."""
Command = Fork | ApplySettings | Calibrate | Quit | Reopen | RecheckSockets | Serve | Named | Check
"""What the master sends."""

_EVENTS: dict[str, type[Any]] = {kind.__name__: kind for kind in Event.__args__}
_COMMANDS: dict[str, type[Any]] = {kind.__name__: kind for kind in Command.__args__}


def pack(message: Event | Command) -> bytes:
    """Make the datagram of a message, see pack_message()."""
    return pack_message(as_object(message, VERSION))


def unpack_event(data: bytes) -> Event:
    """Read what a process of a pool says.

    Raises:
        MessageError: it is nothing that a pool may say.
    """
    return cast(Event, read_object(unpack_message(data), _EVENTS, VERSION))


def unpack_command(data: bytes) -> Command:
    """Read what the master says.

    Raises:
        MessageError: it is nothing that the master says.
    """
    return cast(Command, read_object(unpack_message(data), _COMMANDS, VERSION))
