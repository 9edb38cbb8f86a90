"""The pure modules of the master: states and steps, wait statuses, backoff, and how many workers there should be."""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from signal import Signals
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.config.model import PoolConfig, ProcessManager
from fpm.master import lifecycle
from fpm.master.lifecycle import State, Step
from fpm.master.pool import process_manager
from fpm.master.pool.process_manager import Census
from fpm.master.processes import backoff as backoffs
from fpm.master.processes import exits
from tests.support.configuration import Files, section

TIMES = st.floats(min_value=0, max_value=1e9)


# ---------------------------------------------------------------- lifecycle


def test_every_change_of_state_is_decided() -> None:
    allowed = {(a, b) for a, b in itertools.product(State, State) if lifecycle.may_change(a, b)}
    assert allowed == {
        (State.NORMAL, State.FINISHING),
        (State.NORMAL, State.TERMINATING),
        (State.FINISHING, State.TERMINATING),
    }


@given(state=st.sampled_from([State.FINISHING, State.TERMINATING]), timeout=TIMES)
def test_every_stop_comes_to_kill_and_stays_there(state: State, timeout: float) -> None:
    ending = lifecycle.first_ending(state, timeout)
    steps = [ending.step]
    for _ in range(4):
        ending = lifecycle.next_ending(ending)
        steps.append(ending.step)
        assert 0 < ending.wait <= lifecycle.KILL_AFTER
    order = [Step.QUIT, Step.TERM, Step.KILL]
    assert [order.index(step) for step in steps] == sorted(order.index(step) for step in steps)
    assert steps[-2:] == [Step.KILL, Step.KILL]
    assert steps[0] is (Step.QUIT if state is State.FINISHING else Step.TERM)


def test_what_cannot_be_killed_is_left_after_some_rounds() -> None:
    ending = lifecycle.first_ending(State.TERMINATING, 1.0)
    killed = 0
    while not ending.is_in_vain:
        ending = lifecycle.next_ending(ending)
        killed += ending.step is Step.KILL and not ending.is_in_vain
    assert killed == lifecycle.KILL_ROUNDS


def test_a_graceful_stop_waits_for_process_control_timeout() -> None:
    assert lifecycle.first_ending(State.FINISHING, 30.0).wait == 30.0
    assert lifecycle.first_ending(State.FINISHING, 0.0).wait == 0.0


def test_a_fast_stop_never_waits_long() -> None:
    waits = [lifecycle.first_ending(State.TERMINATING, timeout).wait for timeout in (0.0, 1.0, 300.0)]
    assert waits == [lifecycle.FAST_KILL_AFTER, 1.0, lifecycle.FAST_KILL_AFTER]


# ---------------------------------------------------------------- exits


@pytest.mark.parametrize("code", [0, 1, 70, 255])
def test_an_exit_code(code: int) -> None:
    found = exits.parse_status(code << 8)
    assert found == exits.Exit(code=code)
    assert str(found) == f"with code {code}"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGTERM])
@pytest.mark.parametrize("core", [False, True])
def test_a_signal(number: signal.Signals, core: bool) -> None:
    found = exits.parse_status(number | (0x80 if core else 0))
    assert (found.signal, found.core, found.code) == (number, core, None)
    assert str(found) == f"on signal {int(number)} ({number.name}{' - core dumped' if core else ''})"
    assert found.is_emergency is (number in (signal.SIGSEGV, signal.SIGBUS))


def test_nobody_knows_the_status() -> None:
    assert exits.parse_status(None) == exits.Exit()
    assert "unknown" in str(exits.Exit())


def test_signals_without_a_name_have_a_number() -> None:
    assert exits.signal_name(9) == "SIGKILL"
    assert exits.signal_name(63) == "signal 63"
    assert exits.signal_name(0) == "signal 0"


@given(status=st.integers(min_value=0, max_value=0xFFFF))
def test_the_meaning_of_every_status_is_libcs(status: int) -> None:
    found = exits.parse_status(status)
    assert str(found)
    if os.WIFEXITED(status):
        assert found.code == os.WEXITSTATUS(status)
    elif os.WIFSIGNALED(status):
        assert (found.signal, found.core) == (os.WTERMSIG(status), os.WCOREDUMP(status))


# ---------------------------------------------------------------- backoff


def test_the_first_young_death_costs_no_time_and_the_next_ones_more() -> None:
    backoff, pauses = backoffs.Backoff(), []
    for _ in range(20):
        backoff = backoffs.after_worker_death(backoff, age=0.1, requests=0, now=100.0)
        pauses.append(round(backoff.until - 100.0, 6))
    assert pauses[:5] == [0.0, 0.1, 0.2, 0.4, 0.8]
    assert pauses == sorted(pauses)
    assert pauses[-1] == backoffs.WORKER_DELAY_MAX


def test_a_worker_that_has_served_is_missed_for_a_second_at_most() -> None:
    backoff = backoffs.Backoff(failures=50)
    assert backoffs.after_worker_death(backoff, age=1.0, requests=1, now=0.0).until == backoffs.SERVING_DELAY_MAX


def test_a_ripe_death_forgives() -> None:
    backoff = backoffs.Backoff(failures=5, until=1000.0)
    assert backoffs.after_worker_death(backoff, age=backoffs.YOUNG, requests=0, now=3.0) == backoffs.Backoff()


def test_templates_are_tried_again_after_1_2_4_and_at_most_60_seconds() -> None:
    backoff, pauses = backoffs.Backoff(), []
    for _ in range(10):
        backoff = backoffs.after_template_failure(backoff, 10.0)
        pauses.append(backoff.until - 10.0)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


@given(failures=st.integers(min_value=0, max_value=10**6), now=TIMES)
def test_pauses_are_bounded_however_often_it_fails(failures: int, now: float) -> None:
    backoff = backoffs.Backoff(failures=failures)
    for after in (
        backoffs.after_worker_death(backoff, age=0, requests=0, now=now),
        backoffs.after_template_failure(backoff, now),
    ):
        assert now <= after.until <= now + backoffs.TEMPLATE_DELAY_MAX
        assert after.failures == failures + 1


def test_the_emergency_window() -> None:
    window = backoffs.EmergencyWindow()
    for now in (0.0, 50.0, 70.0):
        window = window.add(now, 3)
    assert not window.is_reached(70.0, 3, 60.0)
    window = window.add(100.0, 3)
    assert window.times == (50.0, 70.0, 100.0)
    assert window.is_reached(100.0, 3, 60.0)
    assert not window.is_reached(120.0, 3, 60.0)


@pytest.mark.parametrize(("threshold", "interval"), [(0, 60.0), (3, 0.0)])
def test_a_zero_switches_the_emergency_off(threshold: int, interval: float) -> None:
    window = backoffs.EmergencyWindow()
    for now in range(10):
        window = window.add(float(now), threshold)
    assert not window.is_reached(9.0, threshold, interval)


# ---------------------------------------------------------------- process manager


@cache
def any_pool() -> PoolConfig:
    """A pool as the configuration makes it, to be varied."""
    with tempfile.TemporaryDirectory() as directory:
        return Files(Path(directory)).pool(section("www"))


@st.composite
def pools(draw: st.DrawFn) -> PoolConfig:
    most = draw(st.integers(min_value=1, max_value=200))
    least_spare = draw(st.integers(min_value=1, max_value=most))
    most_spare = draw(st.integers(min_value=least_spare, max_value=most))
    return replace(
        any_pool(),
        pm=draw(st.sampled_from(get_args(ProcessManager))),
        pm_max_children=most,
        pm_start_servers=draw(st.integers(min_value=least_spare, max_value=most_spare)),
        pm_min_spare_servers=least_spare,
        pm_max_spare_servers=most_spare,
        pm_max_spawn_rate=draw(st.integers(min_value=1, max_value=64)),
        pm_process_idle_timeout=draw(st.floats(min_value=0.1, max_value=3600)),
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[PoolConfig, Census, list[float]]:
    config = draw(pools())
    idle = draw(st.integers(min_value=0, max_value=config.pm_max_children))
    active = draw(st.integers(min_value=0, max_value=config.pm_max_children - idle))
    starting = draw(st.integers(min_value=0, max_value=config.pm_max_children - idle - active))
    idle_for = draw(st.lists(st.floats(min_value=0, max_value=7200), min_size=idle, max_size=idle))
    return config, Census(idle, active, starting), idle_for


@given(situation=situations(), rate=st.integers(min_value=1, max_value=64))
def test_a_turn_keeps_the_limits(situation: tuple[PoolConfig, Census, list[float]], rate: int) -> None:
    config, census, idle_for = situation
    turn = process_manager.decide_maintenance(config, census, rate, idle_for)
    assert turn.spawn >= 0
    assert 0 <= turn.retire <= census.idle
    assert census.total + turn.spawn <= config.pm_max_children
    assert not (turn.spawn and turn.retire)
    assert 1 <= turn.rate <= max(config.pm_max_spawn_rate, 1)
    assert turn.look_again is None or turn.look_again > 0
    if config.pm == "dynamic" and turn.retire:
        assert census.idle + census.starting - turn.retire >= config.pm_max_spare_servers
    if config.pm == "dynamic" and turn.spawn:
        assert turn.spawn <= rate


@given(situation=situations(), waiting=st.integers(min_value=0, max_value=100_000))
def test_a_burst_is_answered_within_the_limits(situation: tuple[PoolConfig, Census, list[float]], waiting: int) -> None:
    config, census, _ = situation
    count = process_manager.decide_burst(config, census, waiting)
    assert count >= 0
    assert census.total + count <= config.pm_max_children
    assert count <= waiting
    if census.idle:
        assert count == 0
    elif waiting >= census.starting + (room := config.pm_max_children - census.total):
        assert count == room


@given(situation=situations(), rate=st.integers(min_value=1, max_value=64))
def test_a_quiet_pool_comes_to_rest(situation: tuple[PoolConfig, Census, list[float]], rate: int) -> None:
    """Without requests the turns end: what has been spawned is idle, what has been retired is gone."""
    config, census, _ = situation
    idle = census.total
    for _ in range(400):
        long_ago = [config.pm_process_idle_timeout + 1] * idle
        turn = process_manager.decide_maintenance(config, Census(idle, 0, 0), rate, long_ago)
        rate = turn.rate
        idle += turn.spawn - turn.retire
        if turn.look_again is None:
            break
    else:
        raise AssertionError(f"it never rests, {idle} idle")
    expected = {"ondemand": (0, 0), "dynamic": (config.pm_min_spare_servers, config.pm_max_spare_servers)}
    least, most = expected.get(config.pm, (0, config.pm_max_children))
    assert least <= idle <= most


@given(config=pools())
def test_the_first_workers_are_within_the_limits(config: PoolConfig) -> None:
    assert 0 <= process_manager.first_workers(config) <= config.pm_max_children


@given(config=pools(), hurried=st.booleans())
def test_the_threshold_of_waking(config: PoolConfig, hurried: bool) -> None:
    threshold = process_manager.wake_threshold(config, hurried=hurried)
    assert 0 <= threshold <= config.pm_max_children
    assert (threshold == 0) is (config.pm == "static")


@pytest.mark.parametrize(
    ("numbers", "sigterm", "expected"),
    [
        ({Signals.SIGTERM}, "fast", State.TERMINATING),
        ({Signals.SIGTERM}, "graceful", State.FINISHING),
        ({Signals.SIGQUIT}, "fast", State.FINISHING),
        ({Signals.SIGQUIT, Signals.SIGTERM}, "fast", State.TERMINATING),
        ({Signals.SIGINT, Signals.SIGTERM}, "graceful", State.TERMINATING),
        ({Signals.SIGHUP}, "graceful", None),
    ],
)
def test_a_signal_asks_for_this_stop(numbers: set[Signals], sigterm: str, expected: State | None) -> None:
    assert lifecycle.stop_state(numbers, sigterm=sigterm) is expected
