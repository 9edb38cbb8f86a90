"""What a pool does because of memory, event by event, without processes (see tests.support.pool_model)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from signal import Signals
from types import SimpleNamespace
from typing import Any

import pytest

from fpm.events.pool import MaxChildrenReached
from fpm.events.worker import ProcessDied, WorkerKilledForMemory
from fpm.master.pool.child import Child
from fpm.master.pool.history import MAX_MEMORY, MAX_MEMORY_HARD, MEMORY_HARD
from fpm.master.pool.memory_limits import Level
from fpm.master.pool.memory_watch import MemoryWatch
from fpm.master.pool.template_state import TemplateState
from fpm.master.pool.worker_state import WorkerAction, WorkerEvent, WorkerState
from fpm.master.pool.worker_table import WORKER_TABLE
from fpm.master.processes.exits import Exit
from fpm.scoreboard.stages import Stage
from tests.support.pool_model import PoolModel

Make = Callable[..., PoolModel]
SPARE = {"pm__min_spare_servers": "3", "pm__max_spare_servers": "4", "pm__start_servers": "3"}


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


def asked(model: PoolModel) -> int:
    return len(model.in_state(WorkerState.REQUESTED))


def all_busy(model: PoolModel) -> None:
    for child in model.children:
        model.work(child, Stage.EXECUTING)


def signals(child: Child) -> list[int]:
    process: Any = child.process
    sent: list[int] = process.signals
    return sent


# -------------------------------------------------------------------------------------------------- how it grows


def test_above_the_hard_limit_clients_wait(pool: Make) -> None:
    model = pool("dynamic", 8, **SPARE)
    all_busy(model)
    model.queued = 5
    model.scaler.set_memory(Level.HARD)
    model.scaler.maintain()
    assert asked(model) == 0
    assert "saturated" in model.scaler.turns.timers, "nobody would look again"
    assert not any(isinstance(event, MaxChildrenReached) for event in model.events)
    model.scaler.set_memory(Level.SOFT)
    assert asked(model) == 5


def test_above_the_soft_limit_one_spare_worker_is_enough(pool: Make) -> None:
    model = pool("dynamic", 8, **SPARE)
    first, second, _ = model.children
    model.scaler.set_memory(Level.SOFT)
    for child in (first, second):
        model.work(child, Stage.EXECUTING)
    model.scaler.maintain()
    assert asked(model) == 0
    all_busy(model)
    model.scaler.maintain()
    assert asked(model) == 1
    model.scaler.set_memory(Level.WITHIN)
    model.scaler.maintain()
    assert asked(model) > 1


def test_a_static_pool_is_as_large_again_when_it_is_over(pool: Make) -> None:
    model = pool(workers=3)
    model.scaler.set_memory(Level.HARD)
    child = model.children[0]
    model.workers.retire(child, MEMORY_HARD)
    model.workers.exited(child, Exit(code=0))
    model.scaler.evaluate()
    assert (len(model.children), asked(model)) == (2, 0)
    model.scaler.set_memory(Level.SOFT)
    assert asked(model) == 0
    model.scaler.set_memory(Level.WITHIN)
    assert asked(model) == 1


@pytest.mark.parametrize("manager", ["static", "dynamic"])
def test_one_that_dies_is_replaced_even_then(pool: Make, manager: str) -> None:
    model = pool(manager, 3, **(SPARE | {"pm__max_spare_servers": "3"} if manager == "dynamic" else {}))
    model.scaler.set_memory(Level.HARD)
    for child in list(model.children):
        model.workers.exited(child, Exit(signal=Signals.SIGSEGV))
        model.let_time_pass(60.0)
        model.scaler.evaluate()
        assert asked(model) == 1
        model.start_all()


def test_one_at_its_limit_is_replaced_even_then(pool: Make) -> None:
    model = pool(workers=2)
    model.scaler.set_memory(Level.HARD)
    child = model.children[0]
    model.workers.happen(child, WorkerEvent.LIMIT, reason=MAX_MEMORY)
    model.start_all()
    assert child.state is WorkerState.RETIRING


# -------------------------------------------------------------------------------------------------- how it leaves


def test_a_request_may_take_its_time_and_then_the_worker_has_the_usual_one(pool: Make) -> None:
    model = pool(workers=1)
    (child,) = model.children
    model.work(child, Stage.EXECUTING)
    model.workers.recycle(child, 1 << 30, "GET /")
    model.start_all()
    assert child.state is WorkerState.RETIRING
    for _ in range(5):
        model.fire(child)
        assert signals(child) == []
    model.work(child, Stage.ACCEPTING)
    for _ in range(2):  # the request has ended; its last stack
        model.fire(child)
        assert signals(child) == []
    model.fire(child)
    assert signals(child) == [Signals.SIGTERM]


@pytest.mark.parametrize("reason", [MEMORY_HARD, "reload", MAX_MEMORY_HARD])
def test_only_some_reasons_are_patient(pool: Make, reason: str) -> None:
    model = pool(workers=1)
    (child,) = model.children
    model.work(child, Stage.EXECUTING)
    model.workers.retire(child, reason)
    for _ in range(2):
        model.fire(child)
    assert signals(child) == ([] if reason == MEMORY_HARD else [Signals.SIGTERM])


def test_an_end_of_the_pool_is_not_patient(pool: Make) -> None:
    model = pool(workers=1)
    (child,) = model.children
    model.work(child, Stage.EXECUTING)
    model.workers.retire(child, MEMORY_HARD)
    model.stop()
    for _ in range(2):
        model.fire(child)
    assert signals(child) == [Signals.SIGTERM]


@pytest.mark.parametrize("is_released", [False, True])
def test_a_reload_is_not_patient(pool: Make, is_released: bool) -> None:
    """Whether its replacement had come before the reload, or comes with it."""
    model = pool(workers=1)
    (child,) = model.children
    model.work(child, Stage.EXECUTING)
    model.workers.recycle(child, 1 << 30, "GET /")
    if is_released:
        model.start_all()
    model.reload()
    (trial,) = model.in_state(WorkerState.TRIAL_REQUESTED)
    former: Any = child.template
    model.become_ready(trial)
    model.commit()
    former.state = TemplateState.RETIRING
    model.workers.happen(trial, WorkerEvent.SERVING)
    model.start_all()
    assert child.state is WorkerState.RETIRING
    for _ in range(2):
        model.fire(child)
    assert signals(child) == [Signals.SIGTERM]


def test_one_that_sees_it_after_the_master_serves_on(pool: Make) -> None:
    step = WORKER_TABLE[WorkerState.AT_LIMIT, WorkerEvent.LIMIT]
    assert (step.state, step.actions) == (WorkerState.AT_LIMIT, (WorkerAction.SEND_SERVE,))
    model = pool(workers=1)
    (child,) = model.children
    for _ in range(2):
        model.workers.happen(child, WorkerEvent.LIMIT, reason=MAX_MEMORY)
    assert (child.state, asked(model)) == (WorkerState.AT_LIMIT, 1)


# -------------------------------------------------------------------------------------------------- killed


def kill(model: PoolModel, child: Child) -> None:
    model.workers.happen(child, WorkerEvent.OVER_MEMORY, reason=MAX_MEMORY_HARD, error="too large")


def test_a_killed_one_frees_its_place_and_its_certificate_says_why(pool: Make) -> None:
    model = pool(workers=1)
    (child,) = model.children
    kill(model, child)
    assert (child.state, signals(child)) == (WorkerState.KILLED, [Signals.SIGKILL])
    assert asked(model) == 1
    model.workers.exited(child, Exit(signal=Signals.SIGKILL))
    (event,) = [event for event in model.events if isinstance(event, ProcessDied)]
    death = event.death
    assert (death.killed_by_master, death.retire_reason, death.oom) == (True, MAX_MEMORY_HARD, "no")
    model.workers.record.take(event)
    values = model.workers.record.values
    assert (values.deaths_by_memory, values.deaths_by_timeout) == (1, 0)


def test_those_that_are_too_large_from_the_start_come_more_and_more_seldom(pool: Make) -> None:
    model = pool(workers=1)
    for _ in range(4):
        (child,) = model.in_state(WorkerState.SERVING)
        kill(model, child)
        model.workers.exited(child, Exit(signal=Signals.SIGKILL))
        pause = model.scaler.pause
        model.let_time_pass(pause)
        model.scaler.evaluate()
        model.start_all()
    assert pause > 0.3


def test_one_that_starts_makes_its_pool_fail() -> None:
    model = PoolModel(pm="static", pm__max_children="1")
    try:
        model.scaler.start()
        (child,) = model.children
        model.fork(child)
        kill(model, child)
        assert child.state is WorkerState.KILLED
        assert model.starter.failures.failure == "too large"
    finally:
        model.close()


def test_one_on_trial_makes_its_generation_fail(pool: Make) -> None:
    model = pool(workers=1)
    model.reload()
    (trial,) = model.in_state(WorkerState.TRIAL_REQUESTED)
    model.fork(trial)
    kill(model, trial)
    assert trial.state is WorkerState.KILLED
    assert [verdict.error for verdict in model.verdicts] == ["too large"]


# -------------------------------------------------------------------------------------------------- looked at


def watched(model: PoolModel, *, hard: int, stage: Stage = Stage.EXECUTING) -> tuple[MemoryWatch, Child]:
    """A pool with one worker, which is as large as this process, and who looks after its memory."""
    host: Any = model
    host.templates, host.record = SimpleNamespace(all=list), model.workers.record
    (child,) = model.children
    process: Any = child.process
    process.pid = os.getpid()
    model.work(child, stage)
    limit(model, hard)
    return MemoryWatch(host), child


def limit(model: PoolModel, hard: int) -> None:
    model.config = replace(model.config, pm_max_memory_hard=hard)


def stacks_that_take_their_time(model: PoolModel) -> list[Callable[[Any], None]]:
    waiting: list[Callable[[Any], None]] = []
    stacks: Any = model.workers.termination._stacks
    stacks.take = lambda child, reason, done: waiting.append(done)
    return waiting


def test_a_busy_one_is_killed_when_its_stack_has_come(pool: Make) -> None:
    model = pool(workers=1)
    watch, child = watched(model, hard=1 << 20)
    waiting = stacks_that_take_their_time(model)
    for _ in range(3):
        watch._look()
        assert child.state is WorkerState.SERVING
    assert len(waiting) == 1, "a look that finds it too large again takes another stack"
    waiting[0](None)
    assert child.state is WorkerState.KILLED
    (event,) = [event for event in model.events if isinstance(event, WorkerKilledForMemory)]
    assert (event.limit, event.memory > 1 << 20) == (1 << 20, True)
    watch._look()
    assert len(waiting) == 1


def test_one_that_has_got_smaller_is_spared(pool: Make) -> None:
    model = pool(workers=1)
    watch, child = watched(model, hard=1 << 20)
    waiting = stacks_that_take_their_time(model)
    watch._look()
    limit(model, 1 << 50)
    waiting.pop()(None)
    assert (child.state, signals(child)) == (WorkerState.SERVING, [])
    limit(model, 1 << 20)
    watch._look()
    assert len(waiting) == 1, "it is not looked after any more"


def test_an_idle_one_leaves_and_is_replaced_once(pool: Make) -> None:
    model = pool(workers=1)
    watch, child = watched(model, hard=1 << 20, stage=Stage.ACCEPTING)
    watch._look()
    assert (child.state, asked(model)) == (WorkerState.RETIRING, 1)


def test_an_idle_one_that_waits_for_its_replacement_gets_no_second_one(pool: Make) -> None:
    model = pool(workers=1)
    watch, child = watched(model, hard=1 << 20, stage=Stage.ACCEPTING)
    model.workers.recycle(child, 1 << 30, "")
    assert asked(model) == 1
    watch._look()
    assert (child.state, asked(model)) == (WorkerState.RETIRING, 1)
