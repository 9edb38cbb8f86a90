"""Events of the whole manager. Pure."""

from __future__ import annotations

from fpm.events.base import Event
from fpm.frozen import dataclass


@dataclass(frozen=True, slots=True)
class MasterStarted(Event):
    """The master runs; its pools are about to start."""


@dataclass(frozen=True, slots=True)
class MasterUpgraded(Event):
    """The installed program has taken over from the one before."""

    version: str


@dataclass(frozen=True, slots=True)
class MasterReady(Event):
    """Every pool serves, or has failed."""

    failed: tuple[str, ...]
    """Names of pools."""
    is_refused: bool = False
    """With --strict a failed pool is a failure of the start: the master exits."""


@dataclass(frozen=True, slots=True)
class StrictStartFailed(Event):
    """With --strict these pools have failed: the master exits."""

    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MasterStopping(Event):
    """New clients are refused."""

    graceful: bool
    """Requests may finish."""


@dataclass(frozen=True, slots=True)
class MasterExiting(Event):
    """All processes have gone."""


@dataclass(frozen=True, slots=True)
class StopRequested(Event):
    """Somebody has asked on the control socket."""


@dataclass(frozen=True, slots=True)
class StopIgnored(Event):
    """The master stops already."""

    wanted: str
    state: str


@dataclass(frozen=True, slots=True)
class ProgramGone(Event):
    """The program that has started this master has exited."""


@dataclass(frozen=True, slots=True)
class InternalError(Event):
    """A defect of pyfpm; the master goes on."""

    traceback: str


@dataclass(frozen=True, slots=True)
class MasterOutput(Event):
    """The master's process has written a line by itself: Python did, in a crash or a warning."""

    line: str


@dataclass(frozen=True, slots=True)
class EventsDropped(Event):
    """The program has not read these events in time."""

    count: int


# -------------------------------------------------------------------- configuration, files, sockets


@dataclass(frozen=True, slots=True)
class ConfigNotice(Event):
    """Something about the configuration that is no mistake."""

    notice: str


@dataclass(frozen=True, slots=True)
class RestartNeeded(Event):
    """A directive of [global] has changed that counts from the next start on."""

    directive: str


@dataclass(frozen=True, slots=True)
class SocketUnused(Event):
    """A socket passed by LISTEN_FDS belongs to no pool."""

    name: str


@dataclass(frozen=True, slots=True)
class ControlSocketFailed(Event):
    """The file of the control socket has been removed, and cannot be made again."""

    error: str


@dataclass(frozen=True, slots=True)
class PidFileFailed(Event):
    """The pid file cannot be where the new configuration says."""

    error: str


@dataclass(frozen=True, slots=True)
class ErrorLogReopened(Event):
    """SIGUSR1, or `pyfpm reopen-logs`."""


@dataclass(frozen=True, slots=True)
class ErrorLogFailed(Event):
    """The error log cannot be opened anew."""

    error: str


# -------------------------------------------------------------------- reload and upgrade


@dataclass(frozen=True, slots=True)
class ReloadStarted(Event):
    """New generations are about to be checked."""

    rollback: str = ""
    """The pool that goes back to its generation before."""


@dataclass(frozen=True, slots=True)
class ReloadPlanned(Event):
    """What the reload has to do, a line for each pool."""

    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReloadProgressed(Event):
    """One step is done; `pool` says of which pool."""

    step: str


@dataclass(frozen=True, slots=True)
class ReloadEnded(Event):
    """The new generations serve, or nothing has changed, unless it was partial."""

    ok: bool
    reasons: tuple[str, ...] = ()
    """Why not."""
    traceback: str = ""
    """Of an application that could not be imported."""
    given_up: bool = False
    """Nothing was wrong with it: the master stops."""
    partial: bool = False
    """The new generations serve, but for the pools that the reasons name."""


@dataclass(frozen=True, slots=True)
class UpgradeStarted(Event):
    """The installed program is asked whether it can take over."""


@dataclass(frozen=True, slots=True)
class UpgradeExecuting(Event):
    """The master becomes the installed program now."""


@dataclass(frozen=True, slots=True)
class UpgradeFailed(Event):
    """The present program goes on."""

    reason: str


# -------------------------------------------------------------------- processes of no pool


@dataclass(frozen=True, slots=True)
class ProcessesLeft(Event):
    """SIGKILL has not ended these processes; the master ends without them."""

    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CgroupLeft(Event):
    """A control group of a pool that is gone still has processes."""

    path: str


@dataclass(frozen=True, slots=True)
class ProcessMaxReached(Event):
    """There are as many workers as process.max allows."""


@dataclass(frozen=True, slots=True)
class OrphanExited(Event):
    """A process that an application had left behind has exited."""

    cause: str


@dataclass(frozen=True, slots=True)
class OrphanKilled(Event):
    """A process that an application had left behind is killed at the end of the master."""

    name: str


@dataclass(frozen=True, slots=True)
class HelperOutput(Event):
    """A process of pyfpm's own, such as the tracer, has written a line."""

    helper: str
    line: str


@dataclass(frozen=True, slots=True)
class PathHung(Event):
    """The file system of a path that the configuration names does not answer."""

    path: str


@dataclass(frozen=True, slots=True)
class HelperStartFailed(Event):
    """It cannot be executed."""

    helper: str
    error: str


@dataclass(frozen=True, slots=True)
class HelperExited(Event):
    """It has exited, though it is needed."""

    helper: str
    cause: str
    pause: float
    """Seconds until it is started again."""


@dataclass(frozen=True, slots=True)
class HistoryFileFailed(Event):
    """The file for the past of the pools cannot be had."""

    path: str
    error: str


@dataclass(frozen=True, slots=True)
class HelperStuck(Event):
    """It does not answer, and is killed."""

    helper: str


@dataclass(frozen=True, slots=True)
class TracerAnswerInvalid(Event):
    """The tracer has sent what cannot be understood."""

    error: str


@dataclass(frozen=True, slots=True)
class StatusMessageInvalid(Event):
    """The status process has sent what cannot be understood."""

    error: str


@dataclass(frozen=True, slots=True)
class StacksAvailable(Event):
    """A first try shows that the stacks of workers can be read."""
