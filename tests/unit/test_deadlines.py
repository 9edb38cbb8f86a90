"""When a request is over a limit, whatever the order of looks, the clocks and the lies of a pool."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.master.pool.deadlines import REQUEST_INTERRUPT_GRACE, Action, Decision, Limits, Watch, decide_timeout
from fpm.scoreboard.layout import SLOT_SIZE, slot_offset
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.reading import read_slot, try_clocks
from fpm.scoreboard.snapshot import Slot
from fpm.scoreboard.stages import Stage

BEGAN = 1000.0
IDLE = Slot(0, Stage.ACCEPTING, 7, 0.0, 0, 0.0, 0, 0, 0, 0, 0, "", "", "", "", "")


def running(request: int = 1, *, began: float = BEGAN, freed: float = 0.0, **more: object) -> Slot:
    return replace(IDLE, stage=Stage.EXECUTING, requests=request, began=began, freed=freed, **more)  # type: ignore[arg-type]


def look(limits: Limits, now: float, former: Watch | None = None, **slot: object) -> Decision:
    made = running(**slot)  # type: ignore[arg-type]
    return decide_timeout(limits, Stage.FINISHED if made.freed else Stage.EXECUTING, made, former, now)


@given(
    limit=st.floats(0.001, 1e6),
    looks=st.lists(st.floats(0.0, 2e6), min_size=1, max_size=20).map(sorted),
    epoch=st.floats(allow_nan=True, allow_infinity=True),
)
def test_any_order_of_looks_ends_a_request_at_its_first_look_over_the_limit(limit, looks, epoch):
    watch: Watch | None = None
    actions = []
    for after in looks:
        verdict = look(Limits(terminate=limit), BEGAN + after, watch, request_start=epoch)
        watch = verdict.watch
        actions.append(verdict.action)
        if verdict.next is not None:
            assert verdict.next == BEGAN + limit, "the next look is at the limit, not before"
    over = [after for after in looks if BEGAN + after >= BEGAN + limit]
    expected = [Action.NOTHING] * (len(looks) - len(over)) + [Action.TERMINATE] * bool(over)
    assert actions[: len(expected)] == expected
    assert set(actions[len(expected) :]) <= {Action.NOTHING}, "it is ended once"


@given(said=st.floats(allow_nan=True, allow_infinity=True), limit=st.floats(0.001, 100.0), step=st.floats(0.0, 100.0))
def test_what_cannot_be_true_makes_a_limit_later_never_sooner(said, limit, step):
    board = Scoreboard.create(1)
    try:
        slot = replace(read_slot(board.view, 1, 0), began=said, requests=1)
    finally:
        board.close()
    now = BEGAN
    first = decide_timeout(Limits(terminate=limit), Stage.EXECUTING, slot, None, now)
    if 0.0 < said <= now:
        return
    assert (first.action, first.next) == (Action.NOTHING, now + limit), "it began when it was first seen"
    later = decide_timeout(Limits(terminate=limit), Stage.EXECUTING, slot, first.watch, now + step)
    assert (later.action is Action.TERMINATE) == (now + step >= now + limit)


@given(st.binary(min_size=SLOT_SIZE, max_size=SLOT_SIZE), st.sampled_from(list(Stage)), st.floats(1.0, 1e9))
def test_no_bytes_of_a_slot_do_harm(data, stage, now):
    board = Scoreboard.create(1)
    try:
        board.view[slot_offset(1, 0) :][:SLOT_SIZE] = data
        slot = read_slot(board.view, 1, 0)
        clocks, _ = try_clocks(board.view, 1, 0)
    finally:
        board.close()
    assert clocks == (slot.requests, slot.duration, slot.began, slot.freed)
    verdict = decide_timeout(Limits(1.0, 0.5, 2.0, 3.0, True, True), stage, clocks, None, now)
    assert verdict.next is None or (math.isfinite(verdict.next) and verdict.next > now)


def test_the_request_before_is_not_taken_for_the_one_that_begins():
    limits = Limits(terminate=5.0)
    old = running(3, duration=1000)
    assert decide_timeout(limits, Stage.READING_HEADERS, old, None, BEGAN + 60) == Decision(next=BEGAN + 65)
    assert decide_timeout(limits, Stage.EXECUTING, old, None, BEGAN + 60) == Decision()
    assert decide_timeout(limits, Stage.ACCEPTING, old, None, BEGAN + 60) == Decision()
    ended = look(limits, BEGAN + 5, request=3)
    assert ended.action is Action.TERMINATE
    new = look(limits, BEGAN + 6, ended.watch, request=4, began=BEGAN + 5.5)
    assert (new.action, new.next) == (Action.NOTHING, BEGAN + 10.5)


def test_a_slow_request_is_logged_once_and_then_at_intervals():
    limits = Limits(slow=2.0)
    first = look(limits, BEGAN + 2.1)
    assert (first.action, first.next) == (Action.LOG, None)
    assert look(limits, BEGAN + 90, first.watch).action is Action.NOTHING
    often = Limits(slow=2.0, slow_again=1.0, terminate=4.0)
    first = look(often, BEGAN + 2)
    assert (first.action, first.next) == (Action.LOG, BEGAN + 3)
    second = look(often, BEGAN + 3.25, first.watch)
    assert second.watch is not None
    assert (second.action, second.watch.samples, second.next) == (Action.LOG, 2, BEGAN + 4)
    assert look(often, BEGAN + 4.5, second.watch).action is Action.TERMINATE


def test_a_limit_set_now_counts_for_what_runs():
    watched = look(Limits(slow=100.0), BEGAN + 50).watch
    assert look(Limits(slow=100.0, terminate=40.0), BEGAN + 50, watched).action is Action.TERMINATE
    assert look(Limits(), BEGAN + 50, watched) == Decision(watch=watched)


def test_an_interrupt_has_its_grace():
    limits = Limits(terminate=10.0, interrupt=True)
    verdict = look(limits, BEGAN + 10)
    assert (verdict.action, verdict.next) == (Action.INTERRUPT, BEGAN + 10 + REQUEST_INTERRUPT_GRACE)
    verdict = look(limits, BEGAN + 10.01, verdict.watch)  # a look as soon as the signal is sent
    reminders = []
    while verdict.action in (Action.NOTHING, Action.REMIND):
        assert verdict.next is not None
        verdict = look(limits, verdict.next, verdict.watch)
        reminders.append(verdict.action)
    assert reminders == [Action.REMIND] * 6 + [Action.TERMINATE], "at 0.05, 0.1, 0.2, 0.4, 0.8 and 1.6 s"
    assert verdict.watch is not None
    assert verdict.watch.over == "request_terminate_timeout"
    late = look(limits, BEGAN + 12, look(limits, BEGAN + 10).watch)
    assert late.action is Action.REMIND
    assert late.next is not None
    assert late.next > BEGAN + 12


@pytest.mark.parametrize("track", [False, True])
def test_after_the_response(track):
    limits = Limits(slow=5.0, terminate=10.0, background=20.0, track_finished=track)
    freed = {"freed": BEGAN + 4}
    assert look(limits, BEGAN + 9, **freed).action is (Action.LOG if track else Action.NOTHING)
    verdict = look(limits, BEGAN + 11, **freed)
    assert verdict.action is (Action.TERMINATE if track else Action.NOTHING)
    if not track:
        assert verdict.next == BEGAN + 24
        ended = look(limits, BEGAN + 24, verdict.watch, **freed)
        assert ended.watch is not None
        assert (ended.action, ended.watch.over) == (Action.TERMINATE, "background_timeout")


def test_an_interrupt_of_the_request_is_none_of_the_work_after_it():
    limits = Limits(terminate=10.0, background=20.0, interrupt=True)
    caught = look(limits, BEGAN + 10).watch
    after = look(limits, BEGAN + 12, caught, freed=BEGAN + 11)
    assert (after.action, after.next) == (Action.NOTHING, BEGAN + 31)
    assert look(limits, BEGAN + 31, after.watch, freed=BEGAN + 11).action is Action.INTERRUPT


SECONDS = st.just(0.0) | st.floats(0.001, 9)


@given(slow=SECONDS, terminate=SECONDS, background=SECONDS, after=st.floats(0, 0.99))
def test_the_shortest_limit_is_a_promise(slow, terminate, background, after):
    """A request that has just begun need not be looked at before it."""
    limits = Limits(slow=slow, terminate=terminate, background=background)
    if limits.shortest:
        assert look(limits, BEGAN + limits.shortest * after).action is Action.NOTHING
