"""The stop of a master: workers are asked, then signalled, then killed (fpm.master.lifecycle says when)."""

from __future__ import annotations

from typing import Protocol

from fpm.events.base import Emit
from fpm.events.master import MasterStopping, ProcessesLeft, StopIgnored
from fpm.master.lifecycle import Ending, State, Step, first_ending, may_change, next_ending
from fpm.master.loop.loop import Loop, Timer
from fpm.master.pool.worker_state import WorkerEvent
from fpm.master.pools import Pools

MARGIN = 2.0
"""Seconds after the last step for workers when the process groups are killed."""
WORKER_EVENTS = {Step.QUIT: WorkerEvent.RETIRE, Step.TERM: WorkerEvent.TERMINATE}


class StatusProcess(Protocol):
    """Who keeps the past of the pools, as far as a stop waits for it; see fpm.master.status.process."""

    def begin_stop(self, *, in_haste: bool) -> None:
        """Have the past saved."""

    def leave(self) -> None:
        """Let it go."""

    @property
    def is_there(self) -> bool:
        """Return whether it has not ended."""
        ...


class Shutdown:
    """What the master is doing, and how far a stop has come."""

    def __init__(self, loop: Loop, pools: Pools, status_process: StatusProcess, emit: Emit) -> None:
        self.state = State.NORMAL
        self._loop = loop
        self._pools = pools
        self._status_process = status_process
        self._emit = emit
        self._timer: Timer | None = None
        self._in_vain = False

    def is_over(self) -> bool:
        """Has every process exited after a stop began, or can the rest not be ended? The status process leaves last."""
        if self.state is State.NORMAL or not (self._in_vain or self._pools.are_empty):
            return False
        self._status_process.leave()
        return not self._status_process.is_there

    def may_begin(self, state: State) -> bool:
        """Can this stop begin now? Otherwise it is logged as ignored."""
        if may_change(self.state, state):
            return True
        self._emit(StopIgnored(state.value, self.state.value))
        return False

    def begin(self, state: State, timeout: float) -> None:
        """Stop every pool.

        Args:
            state: FINISHING lets requests finish, TERMINATING does not.
            timeout: process_control_timeout in seconds.
        """
        self.state = state
        self._status_process.begin_stop(in_haste=state is State.TERMINATING)
        for pool in self._pools.all():
            if not pool.is_stopping:
                pool.begin_stop()
        # Whoever reads this may rely on it: new clients are refused by now.
        self._emit(MasterStopping(state is State.FINISHING))
        self._escalate(first_ending(state, timeout))

    def _escalate(self, ending: Ending) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if ending.is_in_vain:
            self._in_vain = True
            self._emit(ProcessesLeft(self._pools.list_pids()))
            return
        for pool in self._pools.all():
            if ending.step in WORKER_EVENTS:
                pool.end_workers(WORKER_EVENTS[ending.step], ending.wait)
            else:
                pool.templates.kill_all()
        self._pools.close_drained()
        # Workers have timers of their own for their last steps; what is left after them is killed by groups.
        self._timer = self._loop.call_later(ending.wait + MARGIN, lambda: self._escalate(next_ending(ending)))
