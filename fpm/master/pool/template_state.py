"""The lifecycle of a template and of a pool's 503 responder: states, which say what it is for, and a table. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from fpm.master.pool.lifecycle_table import Step, make_table, to


class TemplateState(Enum):
    """Where a template stands, and what it is for."""

    STARTING = "starting"
    """The pool's template; it imports the application."""
    READY = "ready"
    """The pool's template; it has not forked a worker yet."""
    SERVING = "serving"
    """The pool's template; it has forked."""
    FAILED = "failed"
    """The pool's template has said why it cannot start, and ends by itself."""
    GIVEN_UP = "given up"
    """The pool's template has been killed because it did not start, or fork, in time."""
    TRIAL_STARTING = "trial starting"
    """Of a new generation, which is checked beside the present one."""
    TRIAL_READY = "trial ready"
    TRIAL_FAILED = "trial failed"
    TRIAL_GIVEN_UP = "trial given up"
    RETIRING = "retiring"
    """Of a former generation: leaves with its last worker."""
    LEAVING = "leaving"
    """Told to leave, and nothing depends on how it ends."""
    RESPONDER = "responder"
    """Answers 503 while the pool has no worker."""
    RESPONDER_LEAVING = "responder leaving"
    KILLED = "killed"
    """Killed because its pool stops, or its generation is not wanted any more."""
    GONE = "gone"

    @property
    def is_present(self) -> bool:
        """Is it the pool's template, by which it makes its workers?"""
        return self in _PRESENT

    @property
    def is_on_trial(self) -> bool:
        """Is its generation being checked?"""
        return self in _TRIAL

    @property
    def is_responder(self) -> bool:
        """Does it answer 503, also while it is told to leave?"""
        return self in (TemplateState.RESPONDER, TemplateState.RESPONDER_LEAVING)

    @property
    def is_importing(self) -> bool:
        """Has it not said yet whether the application can be imported?"""
        return self in (TemplateState.STARTING, TemplateState.TRIAL_STARTING)

    @property
    def has_failed(self) -> bool:
        """Has it said why the application cannot be imported?"""
        return self in (TemplateState.FAILED, TemplateState.TRIAL_FAILED)

    @property
    def has_started(self) -> bool:
        """Has it imported the application, if it imports one?"""
        return self in _STARTED

    @property
    def can_fork(self) -> bool:
        """Does it make workers when it is asked?"""
        return self in _FORKING

    @property
    def is_told_to_leave(self) -> bool:
        """Has it nothing to do any more but to wait for its last worker?"""
        return self in _LEAVING

    @property
    def is_gone(self) -> bool:
        """Has it ended?"""
        return self is TemplateState.GONE

    @property
    def killed_by_master(self) -> bool:
        """Has it been ended because it had not started, forked or left in time?"""
        return self in _KILLED


_S = TemplateState
_PRESENT = frozenset({_S.STARTING, _S.READY, _S.SERVING, _S.FAILED, _S.GIVEN_UP})
_TRIAL = frozenset({_S.TRIAL_STARTING, _S.TRIAL_READY, _S.TRIAL_FAILED, _S.TRIAL_GIVEN_UP})
_FORKING = frozenset({_S.READY, _S.SERVING, _S.TRIAL_READY})
_STARTED = _FORKING | {_S.RETIRING, _S.LEAVING, _S.RESPONDER, _S.RESPONDER_LEAVING}
_LEAVING = frozenset({_S.RETIRING, _S.LEAVING, _S.RESPONDER_LEAVING})
_KILLED = frozenset({_S.GIVEN_UP, _S.TRIAL_GIVEN_UP, _S.KILLED})


class TemplateEvent(Enum):
    """What happens to a template."""

    READY = "ready"
    """It says that it can fork."""
    FAILED = "failed"
    """It says why the application cannot be imported."""
    START_TIMEOUT = "start timeout"
    """startup_timeout is over."""
    GIVE_UP = "give up"
    """startup_timeout is over and its stack is written."""
    NOT_FORKING = "not forking"
    """It has not forked a worker within startup_timeout."""
    FORKED = "forked"
    """It has forked a worker."""
    ACCEPT = "accept"
    """Its generation takes over."""
    ABANDON = "abandon"
    """Its generation is not wanted any more."""
    RETIRE = "retire"
    """A new generation takes over, the pool is idle, or has workers again."""
    STOP = "stop"
    """The pool stops."""
    KILL = "kill"
    """It has not exited in time."""
    UPGRADED = "upgraded"
    """Another pyfpm has taken over from the one that made it."""
    LEFT = "left"
    """It has ended with exit status 0."""
    DIED = "died"
    """It has ended otherwise."""


class TemplateAction(Enum):
    """What the master does about it."""

    SEND_QUIT = "send quit"
    """Tell it to leave with its last worker."""
    KILL_GROUP = "kill group"
    """SIGKILL to it and to all that it has made."""
    KILL_ALONE = "kill alone"
    """SIGKILL to it; its workers serve on."""
    SAY_KILLED = "say killed"
    """Write why it is killed into the log."""
    EXPLAIN_START = "explain start"
    """GIVE_UP after its stack is written."""
    TELL_READY = "tell ready"
    """The pool can make workers."""
    TELL_TRIAL_READY = "tell trial ready"
    """The new generation can make a worker."""
    FAIL_POOL = "fail pool"
    """The pool's application does not start."""
    FAIL_TRIAL = "fail trial"
    """The new generation does not work."""
    RENEW = "renew"
    """Its workers serve on: start another template."""
    RENEW_RESPONDER = "renew responder"
    """Start another responder after a pause, if it is wanted then."""
    REPORT = "report"
    """Write down how it ended, though nothing depends on it."""


_E, _A = TemplateEvent, TemplateAction
_Row = Mapping[TemplateEvent, Step[TemplateState, TemplateAction]]

_ABORT = to(_S.KILLED, _A.SAY_KILLED, _A.KILL_GROUP)


def _ends(*actions: TemplateAction) -> _Row:
    return {_E.LEFT: to(_S.GONE, *actions), _E.DIED: to(_S.GONE, *actions)}


_KILL: _Row = {_E.KILL: _ABORT}
# It has been killed already: there is nothing to say, or to do, but to await its end.
_DYING: _Row = {_E.STOP: to(_S.KILLED), _E.KILL: to(_S.KILLED, _A.KILL_GROUP), _E.UPGRADED: to(_S.KILLED)}


def _beginning(
    starting: TemplateState,
    ready: TemplateState,
    failed: TemplateState,
    given_up: TemplateState,
    *,
    tell: TemplateAction,
    fail: TemplateAction,
    unwanted: TemplateEvent,
) -> dict[TemplateState, _Row]:
    """Make the rows of a template that has not started; they are alike for the pool's own and for one on trial."""
    unready: _Row = {
        **_KILL,
        **_ends(fail),
        unwanted: _ABORT,
        _E.STOP: _ABORT,
        _E.UPGRADED: _ABORT,
        _E.GIVE_UP: to(given_up, _A.KILL_GROUP),
    }
    return {
        starting: {
            **unready,
            _E.READY: to(ready, tell),
            _E.FAILED: to(failed),
            _E.START_TIMEOUT: to(starting, _A.EXPLAIN_START),
        },
        failed: {**unready, _E.START_TIMEOUT: to(failed, _A.EXPLAIN_START)},
        given_up: {**_DYING, **_ends(fail), unwanted: to(_S.KILLED)},
    }


_ROWS: dict[TemplateState, _Row] = {
    **_beginning(
        *(_S.STARTING, _S.READY, _S.FAILED, _S.GIVEN_UP), tell=_A.TELL_READY, fail=_A.FAIL_POOL, unwanted=_E.RETIRE
    ),
    **_beginning(
        *(_S.TRIAL_STARTING, _S.TRIAL_READY, _S.TRIAL_FAILED, _S.TRIAL_GIVEN_UP),
        tell=_A.TELL_TRIAL_READY,
        fail=_A.FAIL_TRIAL,
        unwanted=_E.ABANDON,
    ),
    _S.READY: {
        **_KILL,
        # However little of the application its import has shown: it cannot be forked.
        **_ends(_A.FAIL_POOL),
        _E.FORKED: to(_S.SERVING),
        _E.NOT_FORKING: to(_S.GIVEN_UP, _A.KILL_ALONE),
        _E.RETIRE: to(_S.LEAVING, _A.SEND_QUIT),
        _E.STOP: to(_S.LEAVING, _A.SEND_QUIT),
    },
    _S.SERVING: {
        **_KILL,
        **_ends(_A.RENEW),
        _E.NOT_FORKING: to(_S.GIVEN_UP, _A.KILL_ALONE),
        _E.RETIRE: to(_S.RETIRING, _A.SEND_QUIT),
        _E.STOP: to(_S.LEAVING, _A.SEND_QUIT),
    },
    _S.TRIAL_READY: {
        **_KILL,
        **_ends(_A.FAIL_TRIAL),
        _E.NOT_FORKING: to(_S.TRIAL_GIVEN_UP, _A.KILL_ALONE),
        _E.ACCEPT: to(_S.SERVING),
        _E.ABANDON: to(_S.RETIRING, _A.SEND_QUIT),
        _E.STOP: to(_S.LEAVING, _A.SEND_QUIT),
        _E.UPGRADED: to(_S.LEAVING, _A.SEND_QUIT),
    },
    _S.RETIRING: {
        **_KILL,
        _E.NOT_FORKING: to(_S.KILLED, _A.KILL_ALONE),
        _E.STOP: to(_S.LEAVING),
        _E.UPGRADED: to(_S.RETIRING, _A.SEND_QUIT),
        _E.LEFT: to(_S.GONE),
        _E.DIED: to(_S.GONE, _A.REPORT),
    },
    _S.LEAVING: {
        **_KILL,
        **_ends(),
        _E.NOT_FORKING: to(_S.KILLED, _A.KILL_ALONE),
        _E.UPGRADED: to(_S.LEAVING, _A.SEND_QUIT),
    },
    _S.RESPONDER: {
        **_KILL,
        **_ends(_A.RENEW_RESPONDER),
        _E.RETIRE: to(_S.RESPONDER_LEAVING, _A.SEND_QUIT),
        _E.STOP: to(_S.RESPONDER_LEAVING, _A.SEND_QUIT),
        _E.UPGRADED: to(_S.RESPONDER_LEAVING, _A.SEND_QUIT),
    },
    _S.RESPONDER_LEAVING: {
        **_KILL,
        _E.UPGRADED: to(_S.RESPONDER_LEAVING, _A.SEND_QUIT),
        _E.LEFT: to(_S.GONE),
        _E.DIED: to(_S.GONE, _A.REPORT),
    },
    _S.KILLED: {**_DYING, **_ends()},
}

_START = frozenset({_E.READY, _E.FAILED, _E.START_TIMEOUT, _E.GIVE_UP})
_WORK = frozenset({_E.NOT_FORKING, _E.FORKED})
_CHECK = frozenset({_E.ACCEPT, _E.ABANDON})
_OF_TEMPLATES = _START | _WORK | _CHECK
_IGNORED: dict[TemplateState, frozenset[TemplateEvent]] = {
    _S.STARTING: _WORK | _CHECK,
    _S.READY: _START | _CHECK | {_E.UPGRADED},
    _S.SERVING: _START | _CHECK | {_E.FORKED, _E.UPGRADED},
    _S.FAILED: _WORK | _CHECK | {_E.READY, _E.FAILED},
    _S.GIVEN_UP: _OF_TEMPLATES,
    _S.TRIAL_STARTING: _WORK | {_E.ACCEPT, _E.RETIRE},
    _S.TRIAL_READY: _START | {_E.FORKED, _E.RETIRE},
    _S.TRIAL_FAILED: _WORK | {_E.READY, _E.FAILED, _E.ACCEPT, _E.RETIRE},
    _S.TRIAL_GIVEN_UP: _START | _WORK | {_E.ACCEPT, _E.RETIRE},
    _S.RETIRING: _START | _CHECK | {_E.FORKED, _E.RETIRE},
    _S.LEAVING: _START | _CHECK | {_E.FORKED, _E.RETIRE, _E.STOP},
    _S.RESPONDER: _OF_TEMPLATES,
    _S.RESPONDER_LEAVING: _OF_TEMPLATES | {_E.RETIRE, _E.STOP},
    _S.KILLED: _OF_TEMPLATES | {_E.RETIRE},
    _S.GONE: frozenset(_E),
}

TEMPLATE_TABLE = make_table(TemplateState, TemplateEvent, _ROWS, _IGNORED)
INITIAL = frozenset({TemplateState.STARTING, TemplateState.TRIAL_STARTING, TemplateState.RESPONDER})
