"""A template's lifecycle and a pool's: the tables themselves, and the cases that real pools have shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.master.pool import pool_state, template_state
from fpm.master.pool.lifecycle_table import Step, reachable
from fpm.master.pool.pool_state import POOL_TABLE, PoolAction, PoolState, PoolTrigger
from fpm.master.pool.template_state import TEMPLATE_TABLE, TemplateAction, TemplateEvent, TemplateState
from tests.support import lifecycles

S, E, A = TemplateState, TemplateEvent, TemplateAction
EXITS = (E.LEFT, E.DIED)


def follow(state: TemplateState, *events: TemplateEvent) -> tuple[TemplateState, list[TemplateAction]]:
    """The state after some events, and all that was to be done."""
    actions: list[TemplateAction] = []
    for event in events:
        step = TEMPLATE_TABLE[state, event]
        state = step.state
        actions += step.actions
    return state, actions


def follow_pool(state: PoolState, *events: PoolTrigger) -> tuple[PoolState, list[PoolAction]]:
    actions: list[PoolAction] = []
    for event in events:
        step = POOL_TABLE[state, event]
        state = step.state
        actions += step.actions
    return state, actions


def test_every_event_has_an_answer_in_every_state() -> None:
    assert set(TEMPLATE_TABLE) == {(state, event) for state in S for event in E}
    assert set(POOL_TABLE) == {(state, event) for state in PoolState for event in PoolTrigger}


def test_every_state_is_reached_and_every_action_is_wanted() -> None:
    assert reachable(TEMPLATE_TABLE, template_state.INITIAL) == set(S)
    assert {action for step in TEMPLATE_TABLE.values() for action in step.actions} == set(A)
    assert reachable(POOL_TABLE, pool_state.INITIAL) == set(PoolState)
    assert {action for step in POOL_TABLE.values() for action in step.actions} == set(PoolAction)


@pytest.mark.parametrize("event", EXITS)
@pytest.mark.parametrize("state", S)
def test_an_exit_ends_every_life_and_nothing_is_done_about_the_dead(state: S, event: E) -> None:
    step = TEMPLATE_TABLE[state, event]
    assert step.state is S.GONE
    assert len(step.actions) <= 1, "an end has one consequence, so that it is told once"
    assert all(TEMPLATE_TABLE[S.GONE, event] == Step(S.GONE) for event in E)


@pytest.mark.parametrize("state", S)
def test_killing_ends_every_template(state: S) -> None:
    killed, actions = follow(state, E.KILL)
    assert state is S.GONE or (killed is S.KILLED and A.KILL_GROUP in actions)
    assert follow(killed, E.DIED) == (S.GONE, [])


@pytest.mark.parametrize(("state", "event"), TEMPLATE_TABLE)
def test_only_the_decision_about_a_reload_changes_what_a_template_is_for(state: S, event: E) -> None:
    after = TEMPLATE_TABLE[state, event].state
    if after.is_present and not state.is_present:
        assert (state, event) == (S.TRIAL_READY, E.ACCEPT)
    assert not (after.is_on_trial and not state.is_on_trial)
    assert after.is_responder <= state.is_responder


@pytest.mark.parametrize(("state", "event"), TEMPLATE_TABLE)
def test_the_pool_fails_by_the_end_of_its_own_template_alone(state: S, event: E) -> None:
    actions = TEMPLATE_TABLE[state, event].actions
    if A.FAIL_POOL in actions or A.RENEW in actions:
        assert state.is_present
        assert event in EXITS
    if A.FAIL_TRIAL in actions:
        assert state.is_on_trial
        assert event in EXITS


@pytest.mark.parametrize("state", [state for state in S if state.is_on_trial])
@pytest.mark.parametrize("event", EXITS)
def test_a_generation_fails_whenever_its_template_ends_before_it_is_accepted(state: S, event: E) -> None:
    assert TEMPLATE_TABLE[state, event].actions == (A.FAIL_TRIAL,)


@pytest.mark.parametrize("event", EXITS)
def test_a_template_that_ends_before_its_first_fork_has_not_started(event: E) -> None:
    assert follow(S.STARTING, E.READY, event) == (S.GONE, [A.TELL_READY, A.FAIL_POOL])


def test_a_template_that_ends_after_a_fork_is_renewed() -> None:
    assert follow(S.STARTING, E.READY, E.FORKED, E.DIED) == (S.GONE, [A.TELL_READY, A.RENEW])


def test_a_template_that_says_why_it_fails_but_does_not_end_is_killed() -> None:
    assert follow(S.STARTING, E.FAILED, E.START_TIMEOUT, E.GIVE_UP) == (S.GIVEN_UP, [A.EXPLAIN_START, A.KILL_GROUP])


def test_a_template_that_is_ready_while_its_stack_is_taken_is_spared() -> None:
    assert follow(S.STARTING, E.START_TIMEOUT, E.READY, E.GIVE_UP) == (S.READY, [A.EXPLAIN_START, A.TELL_READY])


def test_a_template_that_does_not_fork_is_killed_without_its_workers() -> None:
    assert follow(S.SERVING, E.NOT_FORKING, E.DIED) == (S.GONE, [A.KILL_ALONE, A.FAIL_POOL])


def test_a_former_template_that_dies_is_told_of_unless_the_pool_stops() -> None:
    assert follow(S.SERVING, E.RETIRE, E.DIED) == (S.GONE, [A.SEND_QUIT, A.REPORT])
    assert follow(S.SERVING, E.RETIRE, E.STOP, E.DIED) == (S.GONE, [A.SEND_QUIT])


@given(st.sampled_from(sorted(template_state.INITIAL, key=lambda state: state.name)), st.lists(st.sampled_from(E)))
def test_whatever_happens_an_end_is_told_once_and_a_stop_ends_it(state: S, events: list[E]) -> None:
    state, actions = follow(state, *events)
    consequences = (A.FAIL_POOL, A.FAIL_TRIAL, A.RENEW, A.RENEW_RESPONDER, A.REPORT)
    assert sum(action in consequences for action in actions) <= 1
    stopped, actions = follow(state, E.STOP)
    assert stopped in (S.LEAVING, S.RESPONDER_LEAVING, S.KILLED, S.GONE)
    assert follow(stopped, E.LEFT) == (S.GONE, [])


# ---------------------------------------------------------------- the pool


@pytest.mark.parametrize("state", PoolState)
def test_a_pool_that_stops_is_gone_with_its_last_process(state: PoolState) -> None:
    stopped, _ = follow_pool(state, PoolTrigger.STOP)
    assert follow_pool(stopped, PoolTrigger.EMPTY)[0] is PoolState.GONE


def test_a_pool_tells_once_that_the_daemon_need_not_wait_for_it() -> None:
    p = PoolTrigger
    told = [PoolAction.TELL_SETTLED]
    assert follow_pool(PoolState.NEW, p.START, p.WORKERS_ASKED, p.WORKER_READY, p.ALL_READY) == (
        PoolState.RUNNING,
        told,
    )
    assert follow_pool(PoolState.NEW, p.START_IDLE, p.TEMPLATE_STARTED) == (PoolState.WAKING, told)
    assert follow_pool(PoolState.NEW, p.START, p.FAIL, p.WORKERS_ASKED, p.FAIL) == (PoolState.FAILED, told)


@given(st.lists(st.sampled_from(PoolTrigger)))
def test_a_failed_pool_stays_failed_until_something_shows_that_it_is_mended(events: list[PoolTrigger]) -> None:
    mended = {PoolTrigger.WORKER_READY, PoolTrigger.ALL_READY, PoolTrigger.RECOVER, PoolTrigger.STOP}
    state, _ = follow_pool(PoolState.FAILED, *[event for event in events if event not in mended])
    assert state is PoolState.FAILED


def test_the_words_of_the_status_are_the_five_that_monitors_know() -> None:
    assert {state.word for state in PoolState} == {"starting", "idle", "running", "failed", "stopping"}


def test_the_document_is_drawn_from_the_tables() -> None:
    assert lifecycles.PATH.read_text() == lifecycles.document(), "run `make man`"
