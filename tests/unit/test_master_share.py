"""A pool's share of the master's time, with hypothesis choosing the clock."""

from __future__ import annotations

from hypothesis import given, strategies

from fpm.master.loop.read_budget import PAUSE_MAX, RATE, SAVED_MAX, TURN_MAX, ReadBudget, message_cost

spendings = strategies.lists(
    strategies.tuples(strategies.floats(0.0, 5.0), strategies.floats(0.0, PAUSE_MAX * RATE)), min_size=1, max_size=50
)


def test_a_burst_is_free() -> None:
    share = ReadBudget()
    share.spend(SAVED_MAX * 0.99, now=100.0)
    assert share.pause(100.0) == 0.0


def test_debt_is_paid_at_the_rate() -> None:
    share = ReadBudget()
    share.spend(SAVED_MAX + 0.1, now=100.0)
    pause = share.pause(100.0)
    assert round(pause, 6) == round(0.1 / RATE, 6)
    assert share.pause(100.0 + pause + 0.001) == 0.0


def test_a_quiet_pool_saves_up_to_the_maximum_only() -> None:
    share = ReadBudget()
    share.spend(0.1, now=1.0)
    share.spend(SAVED_MAX + 0.2, now=1_000_000.0)
    assert round(share.pause(1_000_000.0), 6) == round(0.2 / RATE, 6)


@given(spendings)
def test_whoever_keeps_to_the_pauses_gets_no_more_than_the_share(steps: list[tuple[float, float]]) -> None:
    # The costs are so small that no pause is longer than PAUSE_MAX.
    share, now, spent = ReadBudget(), 0.0, 0.0
    for wait, cost in steps:
        now += wait + share.pause(now + wait)
        share.spend(cost, now)
        spent += cost
        now += cost
    end = now + share.pause(now)
    assert spent <= SAVED_MAX + RATE * end + 1e-6


def test_a_pool_is_never_deaf_for_long() -> None:
    share = ReadBudget()
    share.spend(1000.0, now=1.0)
    assert share.pause(1.0) == PAUSE_MAX


def test_costs_grow_with_the_size_and_are_what_was_measured_at_least() -> None:
    assert message_cost(0, 0.0) < message_cost(1000, 0.0) < message_cost(65536, 0.0)
    assert message_cost(1000, 2.5) == 2.5


def test_a_turn_of_the_loop_is_bounded_whatever_has_been_saved() -> None:
    share = ReadBudget()
    assert share.may_read(1.0, turn=7)
    share.spend(TURN_MAX, now=1.0, turn=7)
    assert share.pause(1.0) == 0.0
    assert not share.may_read(1.0, turn=7)
    assert share.may_read(1.0, turn=8)
