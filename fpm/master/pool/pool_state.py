"""The lifecycle of a pool: what the status calls it, and what each event does. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from fpm.master.pool.lifecycle_table import Step, make_table, to


class PoolState(Enum):
    """Where a pool stands."""

    NEW = "new"
    """It serves when the reload that brings it is decided."""
    STARTING = "starting"
    """It has neither served nor failed since the beginning."""
    IDLE = "idle"
    """It has no worker: the next connection brings one."""
    WAKING = "waking"
    """Its template imports the application for the first worker."""
    RUNNING = "running"
    """It has workers, or has asked for them."""
    FAILED = "failed"
    """Its application does not start; that is tried again with growing pauses."""
    STOPPING = "stopping"
    GONE = "gone"

    @property
    def word(self) -> str:
        """The word of the status."""
        return _WORDS.get(self, self.value)

    @property
    def is_settled(self) -> bool:
        """Has it served, or failed, for the first time? The daemon is ready when all pools have."""
        return self not in (PoolState.NEW, PoolState.STARTING)

    @property
    def is_stopping(self) -> bool:
        """Does it accept and make nothing any more?"""
        return self in (PoolState.STOPPING, PoolState.GONE)


_WORDS = {PoolState.NEW: "starting", PoolState.WAKING: "starting", PoolState.GONE: "stopping"}


class PoolTrigger(Enum):
    """What happens to a pool."""

    START = "start"
    """It begins to serve: with its first workers."""
    START_IDLE = "start idle"
    """It begins to serve: with the first connection (pm = ondemand)."""
    TEMPLATE_STARTED = "template started"
    TEMPLATE_READY = "template ready"
    TEMPLATE_RETIRED = "template retired"
    WORKERS_ASKED = "workers asked"
    """Its template has been asked for workers."""
    WORKER_READY = "worker ready"
    ALL_READY = "all ready"
    """All workers that it has asked for are ready."""
    LAST_WORKER_GONE = "last worker gone"
    FAIL = "fail"
    """The application does not start."""
    RECOVER = "recover"
    """What has failed is mended, as far as can be known without a worker."""
    UPGRADED = "upgraded"
    """Another pyfpm has taken over from the one that made its processes."""
    STOP = "stop"
    EMPTY = "empty"
    """Its last process has gone."""


class PoolAction(Enum):
    """What the master does about it."""

    TELL_SETTLED = "tell settled"
    """The daemon may be ready now."""
    TELL_EMPTY = "tell empty"
    """The daemon may end, or forget the pool, now."""


_S, _E, _A = PoolState, PoolTrigger, PoolAction

_Row = Mapping[PoolTrigger, Step[PoolState, PoolAction]]

_LIVE: _Row = {_E.FAIL: to(_S.FAILED), _E.STOP: to(_S.STOPPING)}
_BEGIN: _Row = {_E.FAIL: to(_S.FAILED, _A.TELL_SETTLED), _E.STOP: to(_S.STOPPING)}
_ROWS: dict[PoolState, _Row] = {
    _S.NEW: {**_BEGIN, _E.START: to(_S.STARTING), _E.START_IDLE: to(_S.IDLE, _A.TELL_SETTLED)},
    _S.STARTING: {**_BEGIN, _E.ALL_READY: to(_S.RUNNING, _A.TELL_SETTLED), _E.UPGRADED: to(_S.RUNNING)},
    _S.IDLE: {**_LIVE, _E.TEMPLATE_STARTED: to(_S.WAKING), _E.WORKERS_ASKED: to(_S.RUNNING)},
    _S.WAKING: {
        **_LIVE,
        _E.TEMPLATE_READY: to(_S.IDLE),
        _E.TEMPLATE_RETIRED: to(_S.IDLE),
        _E.UPGRADED: to(_S.IDLE),
        _E.WORKERS_ASKED: to(_S.RUNNING),
    },
    _S.RUNNING: {**_LIVE, _E.LAST_WORKER_GONE: to(_S.IDLE)},
    # Workers that are asked for say nothing yet: they may fail like those before.
    _S.FAILED: {
        **_LIVE,
        _E.WORKER_READY: to(_S.RUNNING),
        _E.ALL_READY: to(_S.RUNNING),
        _E.RECOVER: to(_S.IDLE),
    },
    _S.STOPPING: {_E.EMPTY: to(_S.GONE, _A.TELL_EMPTY)},
}
_IGNORED = {state: frozenset(PoolTrigger) - set(_ROWS.get(state, ())) for state in PoolState}

POOL_TABLE = make_table(PoolState, PoolTrigger, _ROWS, _IGNORED)
INITIAL = frozenset({PoolState.NEW})
