"""What is to become of whom because of memory: one look at a pool (fpm.master.pool.memory_limits)."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.config.model import PoolConfig
from fpm.master.pool.memory_limits import (
    EASED,
    EXACT_LOOK,
    LONG,
    SETTLING,
    SOFT_LOOK,
    Fate,
    Level,
    PoolMemory,
    Standing,
    WorkerMemory,
    decide,
    is_limited,
    level_of,
    needs_pss,
    pause_after,
    share_of,
)
from fpm.master.pool.process_manager import Census, limit_by_memory
from fpm.master.processes.memory_notes import MemoryNotes
from tests.support.configuration import Files, section

W, S, H = Level.WITHIN, Level.SOFT, Level.HARD
BUSY = WorkerMemory(resident=0, share=0, busy_for=LONG)
IDLE = WorkerMemory(resident=0, share=0, idle=True)


@cache
def any_pool() -> PoolConfig:
    with tempfile.TemporaryDirectory() as directory:
        return Files(Path(directory)).pool(section("www", pm__max_children="8"))


def config(manager: str = "dynamic", **changes: Any) -> PoolConfig:
    spare = {"pm_min_spare_servers": 2, "pm_max_spare_servers": 4} if manager == "dynamic" else {}
    return replace(any_pool(), pm=manager, **spare, **changes)


def worker(size: int, like: WorkerMemory = BUSY, **changes: Any) -> WorkerMemory:
    return replace(like, resident=size, share=size, **changes)


def fates(pool: PoolConfig, *workers: WorkerMemory, level: Level = W) -> dict[int, Fate]:
    return dict(decide(pool, PoolMemory(workers), Standing(level), 0.0).fates)


# -------------------------------------------------------------------------------------------------- one worker


@pytest.mark.parametrize(
    ("one", "fate"),
    [
        (worker(100), None),
        (worker(101), Fate.RECYCLE),
        (worker(101, busy_for=LONG - 0.1), None),
        (worker(101, IDLE), Fate.RECYCLE),
        (worker(101, IDLE, large_at_start=True), None),
        (worker(101, serving=False, leaving=True), None),
        (worker(200), Fate.RECYCLE),
        (worker(201), Fate.KILL),
        (worker(201, large_at_start=True), Fate.KILL),
        (worker(201, busy_for=0.0), Fate.KILL),
        (worker(201, serving=False, accepting=False, leaving=True), Fate.KILL),
        (worker(201, IDLE), Fate.DISCARD),
        (worker(201, IDLE, serving=False, leaving=True), Fate.DISCARD),
        (worker(201, IDLE, serving=False, accepting=False, leaving=True), Fate.KILL),
    ],
)
def test_fate_of_a_worker(one: WorkerMemory, fate: Fate | None) -> None:
    pool = config(pm_max_memory=100, pm_max_memory_hard=200)
    assert fates(pool, one) == ({} if fate is None else {0: fate})
    assert fates(config(), one) == {}


def test_one_limit_works_without_the_other() -> None:
    assert fates(config(pm_max_memory=100), worker(1000)) == {0: Fate.RECYCLE}
    assert fates(config(pm_max_memory_hard=100), worker(99), worker(101)) == {1: Fate.KILL}


def test_not_all_are_replaced_at_once() -> None:
    pool = config(pm_max_memory=100)
    assert fates(pool, *(worker(101 + at, IDLE) for at in range(9))) == {8: Fate.RECYCLE, 7: Fate.RECYCLE}
    assert fates(pool, *(worker(101 + at, IDLE) for at in range(3))) == {2: Fate.RECYCLE}


# -------------------------------------------------------------------------------------------------- a pool


@pytest.mark.parametrize(
    ("used", "former", "level"),
    [
        (100, W, W),
        (101, W, S),
        (200, W, S),
        (201, W, H),
        (91, S, S),
        (90, S, W),
        (181, H, H),
        (180, H, S),
        (95, H, S),
        (90, H, W),
        (181, S, S),
    ],
)
def test_level(used: int, former: Level, level: Level) -> None:
    assert level_of(config(pm_memory_soft=100, pm_memory_hard=200), used, former) is level


def test_level_with_one_limit() -> None:
    assert level_of(config(pm_memory_hard=200), 201, W) is H
    assert level_of(config(pm_memory_hard=200), 150, H) is W
    assert level_of(config(pm_memory_soft=200), 10**9, W) is S
    assert level_of(config(), 10**9, H) is W


def test_idle_workers_beyond_the_spare_ones_leave_the_largest_first() -> None:
    soft = {"pm_memory_soft": 10}
    idle = [worker(5, IDLE), worker(7, IDLE), worker(6, IDLE)]
    assert fates(config(**soft), *idle, worker(100)) == {1: Fate.SPARE}
    assert fates(config("ondemand", **soft), *idle, worker(100)) == {1: Fate.SPARE, 2: Fate.SPARE}
    assert fates(config("static", **soft), *idle, worker(100)) == {}
    assert fates(config(pm_memory_soft=10**6), *idle, worker(100)) == {}


@pytest.mark.parametrize(
    ("workers", "victim"),
    [
        ((worker(30, IDLE), worker(60, IDLE), worker(40)), 1),
        ((worker(60, IDLE), worker(30), worker(40)), 2),
        ((worker(60), worker(70)), 1),
        ((worker(130),), None),
        ((worker(130, IDLE),), None),
        ((worker(130, serving=False, leaving=True), worker(10), worker(20)), None),
        ((worker(60, serving=False, leaving=True), worker(90), worker(20)), 1),
    ],
    ids=["idle", "one-idle-stays", "busy", "the-last", "the-last-idle", "one-leaves-already", "one-is-not-enough"],
)
def test_who_leaves_above_the_hard_limit(workers: tuple[WorkerMemory, ...], victim: int | None) -> None:
    found = fates(config("static", pm_memory_hard=100), *workers)
    assert found == ({} if victim is None else {victim: Fate.RECLAIM})


def test_nobody_leaves_because_the_level_is_not_over_yet() -> None:
    pool = config("static", pm_memory_hard=100)
    assert fates(pool, worker(50), worker(45), level=H) == {}
    assert decide(pool, PoolMemory([worker(50), worker(45)]), Standing(H), 0.0).standing.level is H


def test_other_processes_count() -> None:
    pool = config("static", pm_memory_hard=100)
    assert decide(pool, PoolMemory([worker(60)], 41), Standing(), 0.0).standing.level is H
    assert PoolMemory([worker(60)], 41).used == 101


def test_what_is_not_measured_anew_counts_only_after_a_while() -> None:
    pool = config(pm_memory_soft=100)
    unsettled = PoolMemory([worker(101)], is_settled=False)
    first = decide(pool, unsettled, Standing(), 50.0).standing
    assert first == Standing(W, 50.0)
    assert decide(pool, unsettled, first, 50.0 + SETTLING - 0.1).standing == first
    assert decide(pool, unsettled, first, 50.0 + SETTLING).standing == Standing(S)
    assert decide(pool, replace(unsettled, is_settled=True), Standing(), 50.0).standing == Standing(S)
    # It falls at once, and begins anew.
    assert decide(pool, PoolMemory([worker(80)], is_settled=False), first, 51.0).standing == Standing()
    assert decide(pool, PoolMemory([worker(80)], is_settled=False), Standing(S), 51.0).standing == Standing()


def test_share() -> None:
    assert share_of(MemoryNotes(), 70, 50) == 20
    assert share_of(MemoryNotes(), 40, 50) == 0
    assert share_of(MemoryNotes(), 50, 0) == 50
    assert share_of(MemoryNotes(pss=30, resident_then=70), 75, 50) == 35
    assert share_of(MemoryNotes(pss=30, resident_then=70), 60, 50) == 30
    assert share_of(MemoryNotes(pss=30, resident_then=70), 0, 50) == 0


def test_when_to_look() -> None:
    assert not is_limited(config())
    for name in ("pm_max_memory", "pm_max_memory_hard", "pm_memory_soft", "pm_memory_hard"):
        assert is_limited(config(**{name: 1}))
        assert pause_after(config(**{name: 1}), 0.0) == (SOFT_LOOK if name == "pm_max_memory" else EXACT_LOOK)
    assert pause_after(config(pm_memory_hard=1), 0.5) == 50.0
    assert not needs_pss(config(pm_max_memory=1), 10**9)
    assert needs_pss(config(pm_memory_soft=100, pm_memory_hard=200), 91)
    assert not needs_pss(config(pm_memory_hard=200), int(200 * EASED))


WORKERS = st.lists(
    st.builds(
        WorkerMemory,
        resident=st.integers(0, 300),
        share=st.integers(0, 300),
        serving=st.booleans(),
        accepting=st.booleans(),
        leaving=st.booleans(),
        idle=st.booleans(),
        busy_for=st.floats(0, 10),
        large_at_start=st.booleans(),
    ),
    max_size=12,
)


@given(
    workers=WORKERS,
    manager=st.sampled_from(["static", "dynamic", "ondemand"]),
    limits=st.tuples(*[st.integers(0, 500)] * 4),
    level=st.sampled_from(Level),
)
def test_a_pool_serves_on_whatever_it_uses(
    workers: list[WorkerMemory], manager: str, limits: tuple[int, ...], level: Level
) -> None:
    names = ("pm_max_memory", "pm_max_memory_hard", "pm_memory_soft", "pm_memory_hard")
    pool = config(manager, **dict(zip(names, limits, strict=True)))
    decision = decide(pool, PoolMemory(workers), Standing(level), 0.0)
    found = dict(decision.fates)
    chosen = [at for at, fate in found.items() if fate in (Fate.SPARE, Fate.RECLAIM)]
    serving = [at for at, one in enumerate(workers) if one.serving]
    assert set(chosen) <= set(serving)
    assert not chosen or len(set(serving) - set(found)) >= 1, "the last one that is not replaced"
    assert list(found.values()).count(Fate.RECLAIM) <= 1
    assert decision.standing.level is level_of(pool, PoolMemory(workers).used, level)
    # The same again, with those gone that are not replaced: sooner or later nobody leaves any more.
    left = [one for at, one in enumerate(workers) if at not in chosen]
    assert len(left) < len(workers) or not chosen


# -------------------------------------------------------------------------------------------------- how it grows


@given(
    counts=st.tuples(*[st.integers(0, 8)] * 3),
    manager=st.sampled_from(["static", "dynamic", "ondemand"]),
    level=st.sampled_from(Level),
)
def test_numbers_under_a_limit(counts: tuple[int, int, int], manager: str, level: Level) -> None:
    census, pool = Census(*counts), config(manager)
    limited = limit_by_memory(pool, census, level)
    if level is W:
        assert limited is pool
        return
    assert limited.pm_min_spare_servers <= 1
    assert 1 <= limited.pm_max_children <= pool.pm_max_children
    if level is H:
        assert limited.pm_max_children == min(max(census.total, 1), pool.pm_max_children)
    elif manager == "static":
        short = census.idle + census.starting == 0
        assert limited.pm_max_children == min(max(census.total + short, 1), pool.pm_max_children)
    else:
        assert limited.pm_max_children == pool.pm_max_children
