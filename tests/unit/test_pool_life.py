"""A pool in any order of events: the real workers, scaler, trial and reactions over processes that do not exist."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fpm.master.pool.child import Child
from fpm.master.pool.history import MAX_REQUESTS, STOP
from fpm.master.pool.worker_state import WorkerEvent, WorkerState
from fpm.master.processes.exits import Exit
from fpm.scoreboard.stages import Stage
from tests.support.pool_model import PoolModel

MAX = 3
MANAGERS = ["static", "dynamic", "ondemand"]
NUMBERS = {
    "pm__max_children": str(MAX),
    "pm__start_servers": "2",
    "pm__min_spare_servers": "1",
    "pm__max_spare_servers": "2",
}


def make(manager: str) -> PoolModel:
    numbers = NUMBERS if manager == "dynamic" else {"pm__max_children": str(MAX)}
    return PoolModel(pm=manager, **numbers)


class PoolLife(RuleBasedStateMachine):
    """Random events; what must hold after each."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: PoolModel | None = None
        self.floor = 0
        """Workers that took requests when the reload under way began, less those that have been lost since."""

    def teardown(self) -> None:
        """Every way ends in GONE."""
        if self.pool is None:
            return
        self.pool.stop()
        for child in list(self.pool.children):
            for _ in range(10):
                self.pool.fire(child)
            assert child.state is WorkerState.GONE or child.state.killed_by_master or child.state.is_unforked
            self.pool.workers.exited(child, Exit(signal=9))
            assert child.state is WorkerState.GONE
        assert self.pool.children == []
        assert self.pool.services.budget.used == 0
        self.pool.close()

    @initialize(manager=st.sampled_from(MANAGERS))
    def begin(self, manager: str) -> None:
        """The daemon starts."""
        self.pool = make(manager)
        self.pool.scaler.start()

    def any_child(self, data: st.DataObject, *states: WorkerState) -> Child | None:
        """One of the workers, of any state if none are given."""
        assert self.pool is not None
        found = self.pool.in_state(*states) if states else self.pool.children
        return data.draw(st.sampled_from(found)) if found else None

    def lose(self) -> None:
        """What the reload is not to blame for."""
        assert self.pool is not None
        self.floor = min(self.floor, self.pool.accepting)

    # ---------------------------------------------------------------- workers

    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        """A template has done as it was asked."""
        child = self.any_child(data, WorkerState.REQUESTED, WorkerState.TRIAL_REQUESTED, WorkerState.WITHDRAWN)
        if child is not None and self.pool is not None:
            self.pool.fork(child)

    @rule(data=st.data())
    def ready(self, data: st.DataObject) -> None:
        """A worker has started."""
        child = self.any_child(data, WorkerState.STARTING, WorkerState.TRIAL_STARTING)
        if child is not None and self.pool is not None:
            self.pool.become_ready(child)

    @rule(data=st.data())
    def serving(self, data: st.DataObject) -> None:
        """A worker takes requests, after its trial."""
        child = self.any_child(data)
        if child is not None and self.pool is not None:
            self.pool.workers.happen(child, WorkerEvent.SERVING)

    @rule(data=st.data(), stage=st.sampled_from([Stage.ACCEPTING, Stage.EXECUTING]))
    def work(self, data: st.DataObject, stage: Stage) -> None:
        """A request begins or ends."""
        child = self.any_child(data, WorkerState.SERVING, WorkerState.ACTIVATING, WorkerState.SUPERSEDED)
        if child is not None and self.pool is not None:
            self.pool.work(child, stage)

    @rule(data=st.data(), event=st.sampled_from([WorkerEvent.FAILED, WorkerEvent.LIMIT, WorkerEvent.HUNG_UP]))
    def say(self, data: st.DataObject, event: WorkerEvent) -> None:
        """A worker says something, rightly or not."""
        child = self.any_child(data)
        if child is not None and self.pool is not None:
            reason = {WorkerEvent.FAILED: "import failed", WorkerEvent.LIMIT: MAX_REQUESTS}.get(event, "")
            self.pool.workers.happen(child, event, reason=reason)
            self.lose()

    @rule(data=st.data())
    def time_out(self, data: st.DataObject) -> None:
        """A request is over its limit."""
        child = self.any_child(data)
        if child is not None and self.pool is not None:
            self.pool.workers.happen(child, WorkerEvent.TIMEOUT, reason="request_terminate_timeout")
            self.lose()

    @rule(data=st.data(), exit_=st.sampled_from([Exit(code=0), Exit(code=1), Exit(signal=11), Exit()]))
    def end(self, data: st.DataObject, exit_: Exit) -> None:
        """A process ends, and its exit is reported twice."""
        child = self.any_child(data)
        if child is not None and self.pool is not None:
            self.pool.workers.exited(child, exit_)
            number = len(self.pool.events)
            self.pool.workers.exited(child, exit_)
            assert len(self.pool.events) == number
            self.lose()

    @rule(data=st.data())
    def fire(self, data: st.DataObject) -> None:
        """What was to happen next to a worker happens."""
        child = self.any_child(data)
        if child is not None and self.pool is not None:
            self.pool.fire(child)
            self.lose()

    # ---------------------------------------------------------------- the pool

    @rule(seconds=st.sampled_from([0.5, 20.0, 100.0]))
    def wait(self, seconds: float) -> None:
        """Time goes on, and the scaler looks."""
        if self.pool is not None:
            self.pool.let_time_pass(seconds)
            self.pool.scaler.maintain()
            self.lose()
            self.pool.scaler.evaluate()

    @rule(waiting=st.integers(0, 5))
    def clients_come(self, waiting: int) -> None:
        """Connections wait."""
        if self.pool is not None:
            self.pool.queued = waiting
            self.pool.scaler.evaluate()

    @rule()
    def lose_template(self) -> None:
        """The template ends with what it has not forked."""
        if self.pool is not None and (template := self.pool.starter.templates.present) is not None:
            self.pool.starter.templates.present = None
            self.pool.workers.template_gone(template)

    @precondition(lambda self: self.pool is not None and self.pool.trial is None)
    @rule()
    def reload(self) -> None:
        """A new generation begins."""
        assert self.pool is not None
        self.pool.verdicts.clear()
        self.pool.reload()

    @precondition(lambda self: self.pool is not None and self.pool.trial is not None and self.pool.verdicts)
    @rule()
    def decide(self) -> None:
        """It is proved, or given up."""
        assert self.pool is not None
        if self.pool.verdicts[-1].error:
            self.pool.abandon()
        else:
            self.floor = min(self.pool.accepting, MAX)
            self.pool.commit()

    @invariant()
    def never_more_than_may_be(self) -> None:
        """pm.max_children counts, and no slot has two owners."""
        if self.pool is not None:
            assert self.pool.workers.census().total <= MAX
            numbers = [child.slot.number for child in self.pool.children]
            assert len(set(numbers)) == len(numbers)
            assert self.pool.services.budget.used == len(numbers)

    @invariant()
    def never_fewer_ready_than_before_the_reload(self) -> None:
        """While workers of the former generation are there, new ones take their places one for one."""
        if self.pool is not None:
            assert self.pool.accepting >= self.floor
            if not self.pool.in_state(WorkerState.SUPERSEDED):
                self.floor = 0

    @invariant()
    def nobody_gone_is_kept(self) -> None:
        """What is gone is not among the workers, and whoever must leave says why."""
        if self.pool is not None:
            assert not self.pool.in_state(WorkerState.GONE)
            for child in self.pool.children:
                assert child.retire_reason or not child.state.is_leaving or child.state.killed_by_master


@pytest.fixture
def one() -> Iterator[PoolModel]:
    """A pool with one worker, which has closed its channel."""
    pool = PoolModel(pm="static", pm__max_children="1")
    pool.scaler.start()
    pool.start_all()
    pool.hang_up(pool.children[0])
    yield pool
    pool.close()


LEAVING = [WorkerEvent.RETIRE, WorkerEvent.TERMINATE]


@pytest.mark.parametrize("event", LEAVING)
def test_one_that_has_gone_before_it_is_told_to_leave_gets_no_time_for_it(one: PoolModel, event: WorkerEvent) -> None:
    """Nobody reports its exit: it is learnt within seconds, not after process_control_timeout."""
    (child,) = one.children
    process: Any = child.process
    process.alive = False
    one.workers.happen(child, event, reason=STOP)
    one.fire(child)
    assert child.state is WorkerState.GONE


@pytest.mark.parametrize("event", LEAVING)
def test_one_that_cannot_be_told_to_leave_is_signalled(one: PoolModel, event: WorkerEvent) -> None:
    (child,) = one.children
    one.workers.happen(child, event, reason=STOP)
    one.fire(child)
    assert child.state is WorkerState.TERMINATING


TestPoolLife = PoolLife.TestCase
TestPoolLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
