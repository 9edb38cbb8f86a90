"""A worker's lifecycle: the table itself, and the cases that real pools have shown."""

from __future__ import annotations

from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.master.pool.lifecycle_table import Step, draw, make_table, reachable, to
from fpm.master.pool.worker_state import WorkerAction, WorkerEvent, WorkerState
from fpm.master.pool.worker_table import INITIAL, WORKER_TABLE

S, E, A = WorkerState, WorkerEvent, WorkerAction


def follow(state: WorkerState, *events: WorkerEvent) -> tuple[WorkerState, list[WorkerAction]]:
    """The state after some events, and all that was to be done."""
    actions: list[WorkerAction] = []
    for event in events:
        step = WORKER_TABLE[state, event]
        state = step.state
        actions += step.actions
    return state, actions


def test_every_event_has_an_answer_in_every_state() -> None:
    assert set(WORKER_TABLE) == {(state, event) for state in S for event in E}


def test_every_state_is_reached_and_every_action_is_wanted() -> None:
    assert reachable(WORKER_TABLE, INITIAL) == set(S)
    assert {action for step in WORKER_TABLE.values() for action in step.actions} == set(A)


@pytest.mark.parametrize("state", S)
def test_an_exit_ends_every_life_and_nothing_is_done_about_the_dead(state: WorkerState) -> None:
    assert WORKER_TABLE[state, E.EXITED].state is S.GONE
    assert all(WORKER_TABLE[S.GONE, event] == Step(S.GONE) for event in E)


@pytest.mark.parametrize(("origin", "event"), WORKER_TABLE)
def test_only_a_worker_that_goes_is_buried(origin: WorkerState, event: WorkerEvent) -> None:
    step = WORKER_TABLE[origin, event]
    goes = step.state is S.GONE and origin is not S.GONE
    assert (A.BURY in step.actions) == (A.CERTIFY in step.actions) == goes


@pytest.mark.parametrize(("origin", "event"), WORKER_TABLE)
def test_a_signal_comes_after_the_timer_for_its_failure(origin: WorkerState, event: WorkerEvent) -> None:
    actions = WORKER_TABLE[origin, event].actions
    signals = [at for at, action in enumerate(actions) if action in (A.SIGNAL_TERM, A.SIGNAL_KILL)]
    timers = [at for at, action in enumerate(actions) if action in (A.HURRY, A.LIMIT_LEAVING)]
    assert all(timers and min(timers) < at for at in signals)


def test_a_worker_starts_serves_and_leaves() -> None:
    state, actions = follow(S.REQUESTED, E.FORKED, E.READY, E.RETIRE, E.HUNG_UP, E.EXITED)
    assert state is S.GONE
    assert actions == [*(A.NOTE_READY, A.TELL_READY, A.SEND_QUIT, A.LIMIT_LEAVING, A.AWAIT_REPORT, A.BURY, A.CERTIFY)]


@pytest.mark.parametrize("events", [(), (E.FORKED,), (E.FORKED, E.READY), (E.FORKED, E.READY, E.LIMIT)])
def test_a_worker_that_ends_while_on_trial_fails_its_generation_alone(events: tuple[WorkerEvent, ...]) -> None:
    state, actions = follow(S.TRIAL_REQUESTED, *events, E.EXITED)
    assert state is S.GONE
    assert A.FAIL_TRIAL in actions
    assert A.RESPAWN not in actions


def test_a_check_that_uses_up_the_limit_does_not_make_old_workers() -> None:
    state, actions = follow(S.TRIAL_STARTING, E.READY, E.LIMIT, E.SERVE)
    assert state is S.AT_LIMIT
    assert A.REPLACE not in actions
    assert actions[-1] is A.SEND_SERVE


def test_a_pid_that_never_becomes_known_ends_by_the_channel() -> None:
    state, actions = follow(S.REQUESTED, E.RETIRE, E.LATE, E.UNREACHABLE)
    assert state is S.TERMINATING
    assert actions[-2:] == [A.CLOSE_CHANNEL, A.AWAIT_REPORT]
    assert follow(state, E.EXITED)[0] is S.GONE


@pytest.mark.parametrize("state", [S.REQUESTED, S.TRIAL_REQUESTED, S.WITHDRAWN])
@pytest.mark.parametrize("event", [E.NOT_FORKED, E.FORK_FAILED])
def test_what_is_not_forked_will_never_be(state: WorkerState, event: WorkerEvent) -> None:
    assert WORKER_TABLE[state, event].state is S.GONE


@pytest.mark.parametrize("state", [state for state in S if not state.is_unforked and state is not S.GONE])
@pytest.mark.parametrize("event", [E.NOT_FORKED, E.FORK_FAILED])
def test_a_template_cannot_talk_a_running_worker_away(state: WorkerState, event: WorkerEvent) -> None:
    assert WORKER_TABLE[state, event] == Step(state)


def test_a_worker_killed_before_it_was_ready_fails_the_start_once() -> None:
    state, actions = follow(S.STARTING, E.START_TIMEOUT, E.GIVE_UP, E.GIVE_UP, E.EXITED)
    assert state is S.GONE
    assert actions.count(A.FAIL_START) == 1
    assert A.RESPAWN not in actions


def test_one_that_becomes_ready_while_its_stack_is_taken_is_not_given_up() -> None:
    assert follow(S.STARTING, E.START_TIMEOUT, E.READY, E.GIVE_UP)[0] is S.SERVING


def test_an_exit_that_is_reported_twice_counts_once() -> None:
    assert follow(S.SERVING, E.EXITED, E.EXITED)[1] == [A.BURY, A.RESPAWN, A.CERTIFY]


@pytest.mark.parametrize("state", [S.REQUESTED, S.STARTING])
def test_a_superseded_worker_that_is_not_ready_never_serves(state: WorkerState) -> None:
    left, actions = follow(state, E.SUPERSEDE, E.FORKED, E.READY, E.FAILED)
    assert left is S.RETIRING
    assert actions == [A.SEND_QUIT, A.LIMIT_LEAVING]


def test_readiness_does_not_stop_the_clock_of_one_that_was_told_to_leave() -> None:
    assert A.NOTE_READY not in follow(S.STARTING, E.RETIRE, E.READY)[1]


def test_a_worker_at_its_limit_serves_on_if_nothing_can_replace_it() -> None:
    state, actions = follow(S.SERVING, E.LIMIT, E.SERVE, E.SERVING)
    assert state is S.AT_LIMIT
    assert actions == [A.REPLACE, A.SEND_SERVE]


def test_a_request_over_its_limit_is_ended_step_by_step() -> None:
    state, actions = follow(S.SERVING, E.TIMEOUT, E.LATE, E.LATE, E.EXITED)
    assert state is S.GONE
    assert [one for one in actions if one in (A.SIGNAL_TERM, A.SIGNAL_KILL, A.REFILL, A.AWAIT_END)] == [
        *(A.SIGNAL_TERM, A.REFILL, A.SIGNAL_KILL, A.AWAIT_END)
    ]


def test_a_worker_that_is_spared_is_still_one_that_the_master_has_ended() -> None:
    assert follow(S.SERVING, E.TIMEOUT, E.SURVIVED, E.RETIRE)[0].killed_by_master


@given(st.sampled_from(sorted(INITIAL, key=str)), st.lists(st.sampled_from(E)))
def test_no_way_leads_back(state: WorkerState, events: list[WorkerEvent]) -> None:
    """Once told to leave, a worker never counts again; once killed by the master, it stays so until it is gone."""
    for event in events:
        former, state = state, WORKER_TABLE[state, event].state
        assert not state.is_counted or former.is_counted or former.is_on_trial
        assert state.killed_by_master or not former.killed_by_master or state is S.GONE
        assert not state.is_on_trial or former.is_on_trial


class Light(Enum):
    RED = 1
    GREEN = 2


class Button(Enum):
    PRESS = 1
    HOLD = 2


class Lamp(Enum):
    RING = 1


def test_a_table_that_forgets_an_event_or_answers_it_twice_is_refused() -> None:
    rows = {Light.RED: {Button.PRESS: to(Light.GREEN, Lamp.RING)}}
    with pytest.raises(ValueError, match="RED answers HOLD not at all"):
        make_table(Light, Button, rows, {Light.GREEN: set(Button)})
    with pytest.raises(ValueError, match="RED answers PRESS twice"):
        make_table(Light, Button, rows, {Light.RED: set(Button), Light.GREEN: set(Button)})


def test_drawing() -> None:
    table = make_table(
        Light,
        Button,
        {Light.RED: {Button.PRESS: to(Light.GREEN, Lamp.RING), Button.HOLD: to(Light.GREEN)}},
        {Light.GREEN: set(Button)},
    )
    assert draw(table) == (
        "```mermaid\nstateDiagram-v2\n    RED --> GREEN: PRESS, HOLD\n```\n\n"
        "| state | event | new state | actions |\n|---|---|---|---|\n"
        "| RED | PRESS | GREEN | RING |\n| RED | HOLD | GREEN | - |\n"
    )


def test_the_worker_is_drawn_from_its_table() -> None:
    drawn = draw(WORKER_TABLE)
    assert "    ON_TRIAL --> ACTIVATING: SERVE\n" in drawn
    assert "| SERVING | EXITED | GONE | BURY, RESPAWN, CERTIFY |" in drawn
