"""What a pool does with its workers, event by event, without processes (see tests.support.pool_model)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from signal import Signals
from typing import Any

import pytest

from fpm.events.pool import MaxChildrenReached
from fpm.events.worker import ProcessDied, WorkerKept, WorkerSignalled
from fpm.master.listening.inherited import InheritedFds
from fpm.master.pool.child import Child
from fpm.master.pool.history import MAX_REQUESTS
from fpm.master.pool.process_handle import ProcessHandle
from fpm.master.pool.worker_messages import is_at_limit
from fpm.master.pool.worker_state import WorkerAction, WorkerEvent, WorkerState
from fpm.master.processes.exits import Exit
from fpm.scoreboard.stages import Stage
from tests.support.pool_model import PoolModel

Make = Callable[..., PoolModel]
CRASH = Exit(signal=Signals.SIGSEGV)


@pytest.fixture
def pool() -> Iterator[Make]:
    made: list[PoolModel] = []

    def make(manager: str = "static", workers: int = 3, **changes: str) -> PoolModel:
        made.append(PoolModel(pm=manager, pm__max_children=str(workers), **changes))
        made[-1].scaler.start()
        made[-1].start_all()
        return made[-1]

    yield make
    for one in made:
        one.close()


def told(model: PoolModel, kind: type[Any]) -> list[Any]:
    return [event for event in model.events if isinstance(event, kind)]


def prove(model: PoolModel) -> None:
    """A reload, up to the decision."""
    model.reload()
    (trial,) = model.in_state(WorkerState.TRIAL_REQUESTED)
    model.become_ready(trial)
    assert [verdict.error for verdict in model.verdicts] == [""]


def swap(model: PoolModel) -> list[Child]:
    """A reload, decided; the new workers are asked for. Returns those of the former generation."""
    former = list(model.children)
    prove(model)
    model.commit()
    (first,) = model.in_state(WorkerState.ACTIVATING)
    model.workers.happen(first, WorkerEvent.SERVING)
    return former


def signals(child: Child) -> list[int]:
    process: Any = child.process
    found: list[int] = process.signals
    return found


# ---------------------------------------------------------------- how many


def test_a_static_pool_has_all_its_workers(pool: Make) -> None:
    assert pool().workers.census().idle == 3


def test_a_young_death_is_replaced_at_once_and_the_next_one_after_a_pause(pool: Make) -> None:
    model = pool()
    model.workers.exited(model.children[0], CRASH)
    assert model.workers.census().starting == 1
    model.become_ready(model.in_state(WorkerState.REQUESTED)[0])
    model.workers.exited(model.children[0], CRASH)
    assert model.workers.census().starting == 0
    assert model.scaler.pause > 0
    assert [event.death.next_action for event in told(model, ProcessDied)] == [
        "respawned",
        "respawned in 0.1 s (backoff, 2 died early in a row)",
    ]
    model.let_time_pass(1)
    model.scaler.evaluate()
    assert model.workers.census().starting == 1


def test_clients_that_wait_make_workers_up_to_the_limit_and_that_is_said_once(pool: Make) -> None:
    model = pool("ondemand")
    assert model.children == []
    model.queued = 5
    for _ in range(2):
        model.scaler.evaluate()
        assert model.workers.census().starting == 3
    model.start_all()
    for child in model.children:
        model.work(child, Stage.EXECUTING)
    model.scaler.evaluate()
    assert len(told(model, MaxChildrenReached)) == 1


def test_three_workers_that_die_before_they_serve_make_the_pool_fail(pool: Make) -> None:
    model = PoolModel(pm="static", pm__max_children="1")
    try:
        model.scaler.start()
        for _ in range(3):
            (child,) = model.children
            model.fork(child)
            model.workers.exited(child, Exit(code=1))
            model.let_time_pass(0.5)
            model.scaler.evaluate()
        assert model.starter.failures.failure.startswith("its workers end before they serve, 3 in a row")
    finally:
        model.close()


def test_what_a_template_has_not_forked_is_asked_of_the_next_one(pool: Make) -> None:
    model = PoolModel(pm="static", pm__max_children="2")
    try:
        model.scaler.start()
        template, model.starter.templates.present = model.starter.templates.present, None
        model.workers.template_gone(template)
        assert [child.template for child in model.children] == [model.starter.templates.present] * 2
        assert model.scaler.deaths_in_a_row == 0
    finally:
        model.close()


# ---------------------------------------------------------------- reload


def test_old_workers_leave_one_for_one(pool: Make) -> None:
    model = pool()
    former = swap(model)
    assert len(model.in_state(WorkerState.RETIRING)) == 1
    for left in (2, 3):
        assert model.accepting == 3
        model.become_ready(model.in_state(WorkerState.REQUESTED)[0])
        assert len(model.in_state(WorkerState.RETIRING)) == left
    assert {child.retire_reason for child in former} == {"reload"}


def test_new_workers_that_die_do_not_let_the_old_ones_leave(pool: Make) -> None:
    model = pool()
    swap(model)
    for _ in range(2):
        dying = model.in_state(WorkerState.REQUESTED)[-1]
        model.fork(dying)
        model.workers.exited(dying, CRASH)
    model.become_ready(model.in_state(WorkerState.REQUESTED)[0])
    assert model.in_state(WorkerState.REQUESTED) == []
    assert model.accepting == 3


def test_a_generation_that_is_given_up_changes_nothing(pool: Make) -> None:
    model = pool()
    former = list(model.children)
    prove(model)
    model.abandon()
    assert [child.state for child in former] == [WorkerState.SERVING] * 3
    (trial,) = model.in_state(WorkerState.RETIRING)
    model.workers.exited(trial, Exit(code=0))
    assert model.children == former


def test_a_worker_that_dies_on_trial_is_the_reason_of_the_failure(pool: Make) -> None:
    model = pool()
    model.reload()
    (trial,) = model.in_state(WorkerState.TRIAL_REQUESTED)
    model.fork(trial)
    model.workers.exited(trial, Exit(code=3))
    assert [verdict.error for verdict in model.verdicts] == ["its first worker exited with code 3"]
    assert model.workers.census().idle == 3


def test_a_reload_that_ends_before_old_workers_were_ready_does_not_wait_for_them(pool: Make) -> None:
    model = pool(workers=2)
    model.workers.exited(model.children[0], CRASH)
    (late,) = model.in_state(WorkerState.REQUESTED)
    prove(model)
    model.commit()
    assert late.state is WorkerState.WITHDRAWN
    model.become_ready(late)
    assert late.state is WorkerState.RETIRING


# ---------------------------------------------------------------- limits


def reach_limit(model: PoolModel) -> Child:
    child = model.children[0]
    model.workers.happen(child, WorkerEvent.LIMIT, reason=MAX_REQUESTS)
    return child


def test_a_worker_at_its_limit_waits_for_its_replacement(pool: Make) -> None:
    model = pool(workers=2)
    child = reach_limit(model)
    assert child.state is WorkerState.AT_LIMIT
    model.become_ready(model.in_state(WorkerState.REQUESTED)[0])
    assert (child.state, child.retire_reason) == (WorkerState.RETIRING, MAX_REQUESTS)


def test_workers_that_are_always_at_their_limit_make_no_more_than_twice_as_many(pool: Make) -> None:
    """Whatever they say: others need process.max, too."""
    model = pool(workers=2)
    for _ in range(10):
        for child in list(model.children):
            if child.state is WorkerState.REQUESTED:
                model.become_ready(child)
            model.workers.happen(child, WorkerEvent.LIMIT, reason=MAX_REQUESTS)
    assert len(model.children) == 4
    leaving = model.in_state(WorkerState.RETIRING)
    assert leaving
    for child in leaving:
        model.workers.exited(child, Exit(code=0))
    assert model.in_state(WorkerState.REQUESTED)
    assert len(model.children) <= 4


@pytest.mark.parametrize(
    ("limits", "memory", "requests", "is_believed"),
    [
        ({}, 0, 1000, False),
        ({}, 1 << 40, 1000, False),
        ({"pm__max_requests": "500"}, 0, 499, False),
        ({"pm__max_requests": "500"}, 0, 500, True),
        ({"pm__max_requests": "500"}, 1 << 40, 500, False),
        ({"pm__max_memory": "256M"}, 256 << 20, 1, False),
        ({"pm__max_memory": "256M"}, 257 << 20, 1, True),
        ({"pm__max_memory": "256M"}, 0, 1000, False),
    ],
)
def test_a_limit_is_believed_if_there_is_one_and_it_is_reached(
    pool: Make, limits: dict[str, str], memory: int, requests: int, is_believed: bool
) -> None:
    model = pool(workers=1, **limits)
    assert is_at_limit(model.current.config, memory, requests) is is_believed


def test_a_worker_at_its_limit_serves_on_while_its_pool_fails(pool: Make) -> None:
    model = pool(workers=1)
    child = reach_limit(model)
    model.reactions.serve_on()
    assert child.state is WorkerState.AT_LIMIT
    assert told(model, WorkerKept) == [WorkerKept(MAX_REQUESTS, pool="www", pid=child.pid)]


def test_a_request_over_its_limit_frees_the_place_at_once(pool: Make) -> None:
    model = pool(workers=1)
    (child,) = model.children
    model.workers.happen(child, WorkerEvent.TIMEOUT, reason="request_terminate_timeout")
    assert signals(child) == [Signals.SIGTERM]
    assert model.workers.census().starting == 1
    model.workers.exited(child, Exit(signal=Signals.SIGTERM))
    (event,) = told(model, ProcessDied)
    assert event.death.killed_by_master
    assert event.death.retire_reason == "request_terminate_timeout"


# ---------------------------------------------------------------- the end


def test_one_that_does_not_leave_is_signalled_and_killed_and_waited_for(pool: Make) -> None:
    model = pool(workers=1)
    (child,) = model.children
    model.stop()
    for _ in range(2):  # its last stack, then the signal
        model.fire(child)
    assert signals(child) == [Signals.SIGTERM]
    model.fire(child)
    assert signals(child) == [Signals.SIGTERM, Signals.SIGKILL]
    process: Any = child.process
    process.alive = False
    model.fire(child)
    assert child.state is WorkerState.GONE
    assert [event.signal for event in told(model, WorkerSignalled)] == ["SIGTERM", "SIGKILL"]
    assert model.children == []


def test_one_whose_exit_nobody_reports_is_given_up(pool: Make) -> None:
    model = pool("ondemand")
    model.queued = 1
    model.scaler.evaluate()
    (child,) = model.children
    model.workers.happen(child, WorkerEvent.HUNG_UP)
    model.fire(child)
    assert child.state is WorkerState.GONE


def test_one_that_hangs_up_and_lives_on_is_ended(pool: Make) -> None:
    model = pool(workers=1)
    (child,) = model.children
    model.workers.happen(child, WorkerEvent.HUNG_UP)
    model.fire(child)
    assert child.state is WorkerState.TERMINATING
    assert signals(child) == [Signals.SIGTERM]


def test_one_that_is_not_ready_in_time_makes_the_pool_fail_and_is_killed(pool: Make) -> None:
    model = PoolModel(pm="static", pm__max_children="1")
    try:
        model.scaler.start()
        (child,) = model.children
        model.fork(child)
        model.fire(child)
        assert child.state is WorkerState.KILLED
        assert "was not ready within 60 s (startup_timeout)" in model.starter.failures.failure
    finally:
        model.close()


# ---------------------------------------------------------------- the table and its actions


def test_every_action_of_the_table_is_carried_out(pool: Make) -> None:
    assert set(pool().workers.actions) == set(WorkerAction)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (None, WorkerState.SERVING),
        (WorkerEvent.SUPERSEDE, WorkerState.SUPERSEDED),
        (WorkerEvent.LIMIT, WorkerState.AT_LIMIT),
        (WorkerEvent.RETIRE, WorkerState.RETIRING),
        (WorkerEvent.TIMEOUT, WorkerState.TERMINATING),
    ],
)
def test_an_upgrade_hands_over_the_state_by_its_name(
    pool: Make, event: WorkerEvent | None, expected: WorkerState
) -> None:
    model = pool(workers=1)
    (child,) = model.children
    child.process = ProcessHandle(model.loop, child.template.owner)
    child.process.reported_pid = 7
    if event is not None:
        model.workers.happen(child, event, reason="because")
    state = json.loads(json.dumps(child.dump(InheritedFds())))
    assert state["state"] == expected.name
    # The next master has the same descriptors; here both live in one process.
    state["own_stack"] = [os.dup(state["own_stack"][0]), True]
    if state["channel"] >= 0:  # one that cannot be signalled has been told by its end
        state["channel"] = os.dup(state["channel"])
    model.workers.restore(child.template, model.board, state)
    restored = model.children[-1]
    assert restored.state is expected
    assert (restored.retire_reason, restored.process.name) == (child.retire_reason, 7)
    assert restored.own_stack.listens
