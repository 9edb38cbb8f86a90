"""What may be done with a request when: the table, and that everything else raises."""

from __future__ import annotations

import pytest

from fpm.worker import request_steps
from fpm.worker.request_steps import (
    ANSWERING,
    BEGIN,
    COMPLETE,
    COMPLETED,
    END,
    ENDED,
    FINISH,
    NEW,
    RELEASE,
    RELEASED,
    STEPS,
    WORK,
    WORKING,
    OutOfOrderError,
    Step,
)

STATES = {NEW, ANSWERING, RELEASED, COMPLETED, WORKING, ENDED}


def walk(*steps: Step) -> str:
    state = NEW
    for step in steps:
        state = step[state]
    return state


@pytest.mark.parametrize(
    "steps",
    [
        (BEGIN, COMPLETE, END),
        (BEGIN, COMPLETE, WORK, FINISH, END),
        (BEGIN, RELEASE, WORK, FINISH, END),
    ],
)
def test_the_ways_from_its_variables_to_its_end(steps: tuple[Step, ...]) -> None:
    assert walk(*steps) == ENDED


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
@pytest.mark.parametrize("state", sorted(STATES))
def test_a_step_leads_somewhere_or_raises(step: Step, state: str) -> None:
    if state in step:
        assert step[state] in STATES
    else:
        with pytest.raises(OutOfOrderError, match=f"{step.name} is not possible while a request is {state}"):
            step[state]


def test_every_state_can_be_reached_and_left_but_the_last() -> None:
    assert {after for step in STEPS for after in step.values()} == STATES - {NEW}
    assert {before for step in STEPS for before in step} == STATES - {ENDED}


def test_the_drawing_names_every_state_and_step() -> None:
    drawing = request_steps.__doc__ or ""
    for name in [*STATES, *(step.name for step in STEPS)]:
        assert name in drawing
