"""Where a worker may stand, what may happen to it, and what the master does about it. Pure.

What is counted, shown or allowed is a question about the state. Only `fpm.master.pool.worker_table` changes a state.
"""

from __future__ import annotations

from enum import Enum


class WorkerState(Enum):
    """Where a worker stands."""

    REQUESTED = "requested"
    """The template has been asked for it; there is no process yet."""
    STARTING = "starting"
    """The process exists; it is not ready."""
    TRIAL_REQUESTED = "trial requested"
    """Like REQUESTED, for the worker that shows whether a new generation works."""
    TRIAL_STARTING = "trial starting"
    ON_TRIAL = "on trial"
    """Ready, and accepts nothing: its generation is being checked, or waits for the other pools."""
    TRIAL_AT_LIMIT = "trial at limit"
    """The check has used up pm.max_requests, or pm.max_memory."""
    ACTIVATING = "activating"
    """Its generation serves from now on; it has not said yet that it accepts."""
    SERVING = "serving"
    SUPERSEDED = "superseded"
    """Of a former generation: serves until a new worker takes its place."""
    AT_LIMIT = "at limit"
    """At pm.max_requests or pm.max_memory: leaves when its replacement is ready; may have stopped accepting."""
    FAILED = "failed"
    """Has said that it cannot start, and ends by itself."""
    WITHDRAWN = "withdrawn"
    """Told to leave before its template has forked it."""
    RETIRING = "retiring"
    """Told to finish its request and leave."""
    STOPPING = "stopping"
    """Sent SIGTERM because its pool stops."""
    TERMINATING = "terminating"
    """Sent SIGTERM because it has not exited in time, or because of its request."""
    SPARED = "spared"
    """SIGTERM has ended its request, not the process: told to leave."""
    KILLED = "killed"
    """Sent SIGKILL."""
    GONE = "gone"

    # Each is one object. Enum's own hash is a function in Python, called for every worker whenever they are counted.
    __hash__ = object.__hash__

    @property
    def is_counted(self) -> bool:
        """Is it one of those that the process manager counts?"""
        return self in _STARTING or self in _READY

    @property
    def is_starting(self) -> bool:
        """Will it accept connections, if nothing goes wrong?"""
        return self in _STARTING

    @property
    def is_serving(self) -> bool:
        """Does it accept connections? At its limit it does, if nothing can replace it."""
        return self in _READY or self in (WorkerState.SUPERSEDED, WorkerState.AT_LIMIT)

    @property
    def is_on_trial(self) -> bool:
        """Does it only show whether a new generation works?"""
        return self in _TRIAL

    @property
    def is_unforked(self) -> bool:
        """Is there no process yet?"""
        return self in _UNFORKED

    @property
    def has_started(self) -> bool:
        """Is it beyond its start, successful or not?"""
        return self not in _UNFORKED and self not in (WorkerState.STARTING, WorkerState.TRIAL_STARTING)

    @property
    def is_limited(self) -> bool:
        """May it have requests, to which the limits of the pool apply?"""
        return self.has_started and self not in _TRIAL and self is not WorkerState.GONE

    @property
    def is_leaving(self) -> bool:
        """Is there a reason why it leaves?"""
        return self in _LEAVING

    @property
    def killed_by_master(self) -> bool:
        """Has it been ended because it had not left, started or answered in time?"""
        return self in (WorkerState.TERMINATING, WorkerState.SPARED, WorkerState.KILLED)


_STARTING = frozenset({WorkerState.REQUESTED, WorkerState.STARTING})
_READY = frozenset({WorkerState.ACTIVATING, WorkerState.SERVING})
_TRIAL = frozenset(
    {WorkerState.TRIAL_REQUESTED, WorkerState.TRIAL_STARTING, WorkerState.ON_TRIAL, WorkerState.TRIAL_AT_LIMIT}
)
_UNFORKED = frozenset({WorkerState.REQUESTED, WorkerState.TRIAL_REQUESTED, WorkerState.WITHDRAWN})
_LEAVING = frozenset(WorkerState) - _STARTING - _READY - _TRIAL - {WorkerState.SUPERSEDED, WorkerState.GONE} | {
    WorkerState.TRIAL_AT_LIMIT
}


class WorkerEvent(Enum):
    """What happens to a worker."""

    FORKED = "forked"
    """Its pid is known."""
    FORK_FAILED = "fork failed"
    """Its template says so."""
    NOT_FORKED = "not forked"
    """Its template has ended before it was forked."""
    READY = "ready"
    FAILED = "failed"
    """It says that it cannot start."""
    START_TIMEOUT = "start timeout"
    """startup_timeout is over."""
    GIVE_UP = "give up"
    """startup_timeout is over and its stack is written."""
    SERVE = "serve"
    """The pool wants it to accept connections."""
    SERVING = "serving"
    """It says that it accepts connections."""
    SUPERSEDE = "supersede"
    """A new generation serves from now on."""
    LIMIT = "limit"
    """It says that it is at pm.max_requests or pm.max_memory, or the master sees it."""
    RETIRE = "retire"
    """The pool wants it to finish its request and leave."""
    TERMINATE = "terminate"
    """The pool stops fast."""
    TIMEOUT = "timeout"
    """Its request is over a limit, and its stack is written."""
    OVER_MEMORY = "over memory"
    """It is above pm.max_memory_hard, and its stack is written."""
    SURVIVED = "survived"
    """Its request has ended on SIGTERM, and the process lives."""
    LATE = "late"
    """The time for the step before is over."""
    UNREACHABLE = "unreachable"
    """It cannot be signalled, because its pid has never become known."""
    HUNG_UP = "hung up"
    """It has closed its channel."""
    SILENT = "silent"
    """It has closed its channel and lives on."""
    RESTORED = "restored"
    """Another pyfpm has taken over from the one that made it."""
    EXITED = "exited"


class WorkerAction(Enum):
    """What the master does about it."""

    SEND_SERVE = "send serve"
    SEND_QUIT = "send quit"
    SIGNAL_TERM = "signal TERM"
    SIGNAL_KILL = "signal KILL"
    CLOSE_CHANNEL = "close channel"
    """It reads end of file, and leaves."""
    LIMIT_START = "limit start"
    """START_TIMEOUT after startup_timeout."""
    NOTE_READY = "note ready"
    """Its time to start is over, its time to be idle begins."""
    LIMIT_LEAVING = "limit leaving"
    """LATE after the time that it has to leave; its stack is taken shortly before. Not for one that has hung up."""
    HURRY = "hurry"
    """LATE a second after a signal."""
    AWAIT_REPORT = "await report"
    """EXITED or SILENT, if its template does not report the exit soon."""
    AWAIT_END = "await end"
    """Wait for a process that does not exit on SIGKILL."""
    EXPLAIN_START = "explain start"
    """GIVE_UP after its stack is written."""
    END_TEMPLATE = "end template"
    """The template does not fork: write its stack and kill it."""
    TELL_READY = "tell ready"
    TELL_SERVING = "tell serving"
    TELL_TRIAL_READY = "tell trial ready"
    FAIL_START = "fail start"
    """The pool's application does not start."""
    FAIL_TRIAL = "fail trial"
    """The new generation does not work."""
    REPLACE = "replace"
    """Make its replacement, which it waits for."""
    REFILL = "refill"
    """Its place is free at once, however long it takes to end."""
    RESPAWN = "respawn"
    """It has ended unasked: make another, after a pause if that happens often."""
    BURY = "bury"
    """Give everything back, and find out how it ended."""
    CERTIFY = "certify"
    """Write down how it ended and what happens next."""
