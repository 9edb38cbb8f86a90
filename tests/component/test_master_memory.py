"""Memory figures: by a process of their own, which may hang because of whom it looks at, and is killed then."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from fpm.master.processes.memory_notes import Measurable, MemoryNotes
from fpm.master.processes.memory_sampler import LOOK_MAX, POOL_SHARE, SHARE, MemorySampler, choose
from tests.support.traced import Looker


@pytest.fixture
def looker() -> Iterator[Looker]:
    with Looker() as one:
        yield one
        assert one.log() == ""


def measurable(pool: str, count: int = 1) -> list[Measurable]:
    """Workers of a pool, as far as their memory is concerned: this process."""
    return [Measurable(os.getpid(), pool, MemoryNotes()) for _ in range(count)]


def test_a_slow_process_is_left_out_and_holds_up_nobody(looker: Looker) -> None:
    sampler = MemorySampler(looker.services)
    processes = measurable("www") + measurable("shop")
    slow, other = (one.notes for one in processes)
    try:
        sampler.sample(processes, looker.loop.now)
        looker.run(lambda: slow.pss is not None and other.pss is not None)
        assert slow.pss is not None
        assert slow.pss > 1 << 20
        assert slow.resident_then > slow.pss
        # Whatever holds the reader up, it looks at the first of them.
        (reader,) = looker.services.reapers
        os.kill(reader, signal.SIGSTOP)
        slow.pss_due = other.pss_due = slow.pss_at = 0.0
        other.pss = None
        now = looker.loop.now + 100
        sampler.sample(processes, now)
        looker.run(lambda: not looker.services.reapers)
        assert slow.pss_due - slow.pss_at >= LOOK_MAX / SHARE
        sampler.sample(processes, now)
        looker.run(lambda: other.pss is not None)
        assert [one.notes for one in choose(processes, {}, slow.pss_due - 1)] == [other]
    finally:
        sampler.close()


def test_who_asks_later_is_answered_too(looker: Looker) -> None:
    """The status and the limits of several pools share the reader."""
    sampler = MemorySampler(looker.services)
    www, shop = measurable("www", 2), measurable("shop")
    try:
        for _ in range(2):  # the second time while the first is being answered, and while the reader starts
            sampler.sample(www, looker.loop.now)
            sampler.sample(shop, looker.loop.now)
        looker.run(lambda: all(one.notes.pss is not None for one in [*www, *shop]))
        for one in [*www, *shop]:
            one.notes.pss, one.notes.pss_due = None, 0.0
        now = looker.loop.now + 100
        sampler.sample(www, now)
        sampler.sample(shop, now)
        looker.run(lambda: all(one.notes.pss is not None for one in [*www, *shop]))
    finally:
        sampler.close()


def test_a_pool_has_its_share_of_the_looks() -> None:
    large, small = measurable("large", 1000), measurable("small")
    chosen = choose([*large, *small], {}, 1.0)
    assert small[0] in chosen
    assert len(chosen) < 100
    assert choose([*large, *small], {"large": 1.0 + 0.1 / POOL_SHARE}, 2.0) == small
