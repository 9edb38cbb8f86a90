"""The lifecycle of a worker: what each event does in each state. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from fpm.master.pool.lifecycle_table import Step, make_table, to
from fpm.master.pool.worker_state import WorkerAction, WorkerEvent, WorkerState

_S, _E, _A = WorkerState, WorkerEvent, WorkerAction

# What leads from several states to the same.
_Row = Mapping[WorkerEvent, Step[WorkerState, WorkerAction]]

_WITHDRAW: _Row = {
    _E.RETIRE: to(_S.WITHDRAWN, _A.SEND_QUIT, _A.LIMIT_LEAVING),
    _E.TERMINATE: to(_S.WITHDRAWN, _A.LIMIT_LEAVING, _A.SIGNAL_TERM),
}
_LEAVE: _Row = {
    _E.RETIRE: to(_S.RETIRING, _A.SEND_QUIT, _A.LIMIT_LEAVING),
    _E.TERMINATE: to(_S.STOPPING, _A.LIMIT_LEAVING, _A.SIGNAL_TERM),
}
_END: _Row = {_E.EXITED: to(_S.GONE, _A.BURY, _A.CERTIFY)}
_DIE: _Row = {_E.EXITED: to(_S.GONE, _A.BURY, _A.RESPAWN, _A.CERTIFY)}
_FAIL_TRIAL: _Row = {
    _E.FAILED: to(_S.FAILED, _A.FAIL_TRIAL),
    _E.EXITED: to(_S.GONE, _A.BURY, _A.FAIL_TRIAL, _A.CERTIFY),
}
_SILENT: _Row = {_E.SILENT: to(_S.TERMINATING, _A.HURRY, _A.SIGNAL_TERM)}
_TRIAL_SILENT: _Row = {_E.SILENT: to(_S.TERMINATING, _A.HURRY, _A.SIGNAL_TERM, _A.FAIL_TRIAL)}
_TIMEOUT: _Row = {_E.TIMEOUT: to(_S.TERMINATING, _A.HURRY, _A.SIGNAL_TERM)}
_TIMEOUT_REFILL: _Row = {_E.TIMEOUT: to(_S.TERMINATING, _A.HURRY, _A.SIGNAL_TERM, _A.REFILL)}

_KILL: _Row = {_E.OVER_MEMORY: to(_S.KILLED, _A.HURRY, _A.SIGNAL_KILL)}
_KILL_REFILL: _Row = {_E.OVER_MEMORY: to(_S.KILLED, _A.HURRY, _A.SIGNAL_KILL, _A.REFILL)}
_KILL_TRIAL: _Row = {_E.OVER_MEMORY: to(_S.KILLED, _A.FAIL_TRIAL, _A.HURRY, _A.SIGNAL_KILL)}


def _hung_up(state: WorkerState) -> _Row:
    return {_E.HUNG_UP: to(state, _A.AWAIT_REPORT)}


_ROWS: dict[WorkerState, _Row] = {
    _S.REQUESTED: {
        **_WITHDRAW,
        **_DIE,
        **_SILENT,
        **_hung_up(_S.REQUESTED),
        _E.FORKED: to(_S.STARTING),
        _E.FORK_FAILED: to(_S.GONE, _A.BURY, _A.RESPAWN, _A.CERTIFY),
        _E.NOT_FORKED: to(_S.GONE, _A.BURY, _A.REFILL, _A.CERTIFY),
        _E.READY: to(_S.SERVING, _A.NOTE_READY, _A.TELL_READY),
        _E.FAILED: to(_S.FAILED, _A.FAIL_START),
        _E.START_TIMEOUT: to(_S.REQUESTED, _A.END_TEMPLATE),
        _E.SUPERSEDE: to(_S.WITHDRAWN, _A.SEND_QUIT, _A.LIMIT_LEAVING),
        _E.RESTORED: to(_S.REQUESTED, _A.LIMIT_START),
    },
    _S.STARTING: {
        **_LEAVE,
        **_DIE,
        **_SILENT,
        _E.OVER_MEMORY: to(_S.KILLED, _A.FAIL_START, _A.HURRY, _A.SIGNAL_KILL),
        **_hung_up(_S.STARTING),
        _E.READY: to(_S.SERVING, _A.NOTE_READY, _A.TELL_READY),
        _E.FAILED: to(_S.FAILED, _A.FAIL_START),
        _E.START_TIMEOUT: to(_S.STARTING, _A.EXPLAIN_START),
        _E.GIVE_UP: to(_S.KILLED, _A.FAIL_START, _A.HURRY, _A.SIGNAL_KILL),
        _E.SUPERSEDE: to(_S.RETIRING, _A.SEND_QUIT, _A.LIMIT_LEAVING),
        _E.RESTORED: to(_S.STARTING, _A.LIMIT_START),
    },
    _S.TRIAL_REQUESTED: {
        **_WITHDRAW,
        **_FAIL_TRIAL,
        **_TRIAL_SILENT,
        **_hung_up(_S.TRIAL_REQUESTED),
        _E.FORKED: to(_S.TRIAL_STARTING),
        _E.FORK_FAILED: to(_S.GONE, _A.BURY, _A.FAIL_TRIAL, _A.CERTIFY),
        _E.NOT_FORKED: to(_S.GONE, _A.BURY, _A.FAIL_TRIAL, _A.CERTIFY),
        _E.READY: to(_S.ON_TRIAL, _A.NOTE_READY, _A.TELL_TRIAL_READY),
        _E.START_TIMEOUT: to(_S.TRIAL_REQUESTED, _A.END_TEMPLATE),
        _E.RESTORED: to(_S.WITHDRAWN, _A.SEND_QUIT, _A.LIMIT_LEAVING),
    },
    _S.TRIAL_STARTING: {
        **_LEAVE,
        **_FAIL_TRIAL,
        **_TRIAL_SILENT,
        **_KILL_TRIAL,
        **_hung_up(_S.TRIAL_STARTING),
        _E.READY: to(_S.ON_TRIAL, _A.NOTE_READY, _A.TELL_TRIAL_READY),
        _E.START_TIMEOUT: to(_S.TRIAL_STARTING, _A.EXPLAIN_START),
        _E.GIVE_UP: to(_S.KILLED, _A.FAIL_TRIAL, _A.HURRY, _A.SIGNAL_KILL),
        _E.RESTORED: to(_S.RETIRING, _A.SEND_QUIT, _A.LIMIT_LEAVING),
    },
    _S.ON_TRIAL: {
        **_LEAVE,
        **_TRIAL_SILENT,
        **_KILL_TRIAL,
        **_hung_up(_S.ON_TRIAL),
        _E.SERVE: to(_S.ACTIVATING, _A.SEND_SERVE),
        _E.LIMIT: to(_S.TRIAL_AT_LIMIT),
        _E.RESTORED: to(_S.RETIRING, _A.SEND_QUIT, _A.LIMIT_LEAVING),
        _E.EXITED: to(_S.GONE, _A.BURY, _A.FAIL_TRIAL, _A.CERTIFY),
    },
    _S.TRIAL_AT_LIMIT: {
        **_LEAVE,
        **_TRIAL_SILENT,
        **_KILL_TRIAL,
        **_hung_up(_S.TRIAL_AT_LIMIT),
        # The workers of its generation are made next anyway.
        _E.SERVE: to(_S.AT_LIMIT, _A.SEND_SERVE),
        _E.RESTORED: to(_S.RETIRING, _A.SEND_QUIT, _A.LIMIT_LEAVING),
        _E.EXITED: to(_S.GONE, _A.BURY, _A.FAIL_TRIAL, _A.CERTIFY),
    },
    _S.ACTIVATING: {
        **_LEAVE,
        **_DIE,
        **_SILENT,
        **_TIMEOUT_REFILL,
        **_KILL_REFILL,
        **_hung_up(_S.ACTIVATING),
        _E.SERVING: to(_S.SERVING, _A.TELL_SERVING),
        _E.SUPERSEDE: to(_S.SUPERSEDED),
        _E.LIMIT: to(_S.AT_LIMIT, _A.REPLACE),
    },
    _S.SERVING: {
        **_LEAVE,
        **_DIE,
        **_SILENT,
        **_TIMEOUT_REFILL,
        **_KILL_REFILL,
        **_hung_up(_S.SERVING),
        _E.SUPERSEDE: to(_S.SUPERSEDED),
        _E.LIMIT: to(_S.AT_LIMIT, _A.REPLACE),
    },
    _S.SUPERSEDED: {
        **_LEAVE,
        **_END,
        **_SILENT,
        **_TIMEOUT,
        **_KILL,
        **_hung_up(_S.SUPERSEDED),
        _E.LIMIT: to(_S.RETIRING, _A.SEND_QUIT, _A.LIMIT_LEAVING),
    },
    _S.AT_LIMIT: {
        **_LEAVE,
        **_END,
        **_SILENT,
        **_TIMEOUT,
        **_KILL,
        **_hung_up(_S.AT_LIMIT),
        _E.SERVE: to(_S.AT_LIMIT, _A.SEND_SERVE),
        # The master has seen it first: it goes on until it is replaced.
        _E.LIMIT: to(_S.AT_LIMIT, _A.SEND_SERVE),
    },
    _S.FAILED: {
        **_LEAVE,
        **_END,
        **_SILENT,
        **_KILL,
        **_hung_up(_S.FAILED),
        _E.START_TIMEOUT: to(_S.FAILED, _A.EXPLAIN_START),
        _E.GIVE_UP: to(_S.KILLED, _A.HURRY, _A.SIGNAL_KILL),
        _E.RESTORED: to(_S.FAILED, _A.LIMIT_START),
    },
    _S.WITHDRAWN: {
        **_WITHDRAW,
        **_END,
        **_SILENT,
        **_hung_up(_S.WITHDRAWN),
        _E.FORKED: to(_S.RETIRING),
        _E.FORK_FAILED: to(_S.GONE, _A.BURY, _A.CERTIFY),
        _E.NOT_FORKED: to(_S.GONE, _A.BURY, _A.CERTIFY),
        _E.LATE: to(_S.TERMINATING, _A.HURRY, _A.SIGNAL_TERM),
        _E.UNREACHABLE: to(_S.WITHDRAWN, _A.SEND_QUIT),
        _E.RESTORED: to(_S.WITHDRAWN, _A.SEND_QUIT, _A.LIMIT_LEAVING),
    },
    _S.RETIRING: {
        **_LEAVE,
        **_END,
        **_SILENT,
        **_TIMEOUT,
        **_KILL,
        **_hung_up(_S.RETIRING),
        _E.LATE: to(_S.TERMINATING, _A.HURRY, _A.SIGNAL_TERM),
        _E.RESTORED: to(_S.RETIRING, _A.SEND_QUIT, _A.LIMIT_LEAVING),
    },
    _S.STOPPING: {
        **_END,
        **_SILENT,
        **_TIMEOUT,
        **_KILL,
        **_hung_up(_S.STOPPING),
        _E.TERMINATE: to(_S.STOPPING, _A.LIMIT_LEAVING, _A.SIGNAL_TERM),
        _E.LATE: to(_S.KILLED, _A.HURRY, _A.SIGNAL_KILL),
        _E.UNREACHABLE: to(_S.STOPPING, _A.SEND_QUIT),
        _E.RESTORED: to(_S.STOPPING, _A.LIMIT_LEAVING, _A.SIGNAL_TERM),
    },
    _S.TERMINATING: {
        **_END,
        **_KILL,
        **_hung_up(_S.TERMINATING),
        _E.SURVIVED: to(_S.SPARED, _A.SEND_QUIT, _A.LIMIT_LEAVING),
        _E.LATE: to(_S.KILLED, _A.HURRY, _A.SIGNAL_KILL),
        _E.SILENT: to(_S.KILLED, _A.HURRY, _A.SIGNAL_KILL),
        _E.UNREACHABLE: to(_S.TERMINATING, _A.CLOSE_CHANNEL, _A.AWAIT_REPORT),
        _E.RESTORED: to(_S.TERMINATING, _A.HURRY),
    },
    _S.SPARED: {
        **_END,
        **_SILENT,
        **_TIMEOUT,
        **_KILL,
        **_hung_up(_S.SPARED),
        _E.RETIRE: to(_S.SPARED, _A.SEND_QUIT, _A.LIMIT_LEAVING),
        _E.TERMINATE: to(_S.TERMINATING, _A.HURRY, _A.SIGNAL_TERM),
        _E.LATE: to(_S.TERMINATING, _A.HURRY, _A.SIGNAL_TERM),
        _E.RESTORED: to(_S.SPARED, _A.SEND_QUIT, _A.LIMIT_LEAVING),
    },
    _S.KILLED: {
        **_END,
        **_hung_up(_S.KILLED),
        _E.LATE: to(_S.KILLED, _A.AWAIT_END),
        _E.SILENT: to(_S.KILLED, _A.AWAIT_END),
        _E.UNREACHABLE: to(_S.KILLED, _A.CLOSE_CHANNEL, _A.AWAIT_REPORT),
        _E.RESTORED: to(_S.KILLED, _A.HURRY, _A.SIGNAL_KILL),
    },
}

# What a state knows and does not answer: every other event must be in its row.
_BIRTH = frozenset({_E.FORKED, _E.FORK_FAILED, _E.NOT_FORKED, _E.READY, _E.FAILED, _E.START_TIMEOUT, _E.GIVE_UP})
_SERVICE = frozenset({_E.SERVE, _E.SERVING, _E.SUPERSEDE, _E.LIMIT})
_ESCALATION = frozenset({_E.SURVIVED, _E.LATE, _E.UNREACHABLE})
_IGNORED: dict[WorkerState, frozenset[WorkerEvent]] = {
    _S.REQUESTED: _ESCALATION | {_E.GIVE_UP, _E.SERVE, _E.SERVING, _E.LIMIT, _E.TIMEOUT, _E.OVER_MEMORY},
    _S.STARTING: _ESCALATION | {_E.FORKED, _E.FORK_FAILED, _E.NOT_FORKED, _E.SERVE, _E.SERVING, _E.LIMIT, _E.TIMEOUT},
    _S.TRIAL_REQUESTED: _SERVICE | _ESCALATION | {_E.GIVE_UP, _E.TIMEOUT, _E.OVER_MEMORY},
    _S.TRIAL_STARTING: _SERVICE | _ESCALATION | {_E.FORKED, _E.FORK_FAILED, _E.NOT_FORKED, _E.TIMEOUT},
    _S.ON_TRIAL: _BIRTH | _ESCALATION | {_E.SERVING, _E.SUPERSEDE, _E.TIMEOUT},
    _S.TRIAL_AT_LIMIT: _BIRTH | _ESCALATION | {_E.SERVING, _E.SUPERSEDE, _E.LIMIT, _E.TIMEOUT},
    _S.ACTIVATING: _BIRTH | _ESCALATION | {_E.SERVE, _E.RESTORED},
    _S.SERVING: _BIRTH | _ESCALATION | {_E.SERVE, _E.SERVING, _E.RESTORED},
    _S.SUPERSEDED: _BIRTH | _ESCALATION | {_E.SERVE, _E.SERVING, _E.SUPERSEDE, _E.RESTORED},
    _S.AT_LIMIT: _BIRTH | _ESCALATION | {_E.SERVING, _E.SUPERSEDE, _E.RESTORED},
    _S.FAILED: (_BIRTH - {_E.START_TIMEOUT, _E.GIVE_UP}) | _SERVICE | _ESCALATION | {_E.TIMEOUT},
    _S.WITHDRAWN: _SERVICE
    | {_E.READY, _E.FAILED, _E.START_TIMEOUT, _E.GIVE_UP, _E.TIMEOUT, _E.SURVIVED, _E.OVER_MEMORY},
    _S.RETIRING: _BIRTH | _SERVICE | {_E.SURVIVED, _E.UNREACHABLE},
    _S.STOPPING: _BIRTH | _SERVICE | {_E.RETIRE, _E.SURVIVED},
    _S.TERMINATING: _BIRTH | _SERVICE | {_E.RETIRE, _E.TERMINATE, _E.TIMEOUT},
    _S.SPARED: _BIRTH | _SERVICE | {_E.SURVIVED, _E.UNREACHABLE},
    _S.KILLED: _BIRTH | _SERVICE | {_E.RETIRE, _E.TERMINATE, _E.TIMEOUT, _E.SURVIVED, _E.OVER_MEMORY},
    _S.GONE: frozenset(_E),
}

WORKER_TABLE = make_table(WorkerState, WorkerEvent, _ROWS, _IGNORED)
INITIAL = frozenset({WorkerState.REQUESTED, WorkerState.TRIAL_REQUESTED})
