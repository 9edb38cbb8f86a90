"""Memory figures: by a process of their own, which may hang because of whom it looks at, and is killed then."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fpm.master.pool.child import WorkerNotes
from fpm.master.status.memory import LOOK_MAX, POOL_SHARE, SHARE, MemorySampler, choose
from tests.support.traced import Looker


@pytest.fixture
def looker() -> Iterator[Looker]:
    with Looker() as one:
        yield one
        assert one.log() == ""


def make_pool(name: str, count: int = 1) -> Any:
    """A pool, as far as its memory is concerned; its workers are this process."""
    template = SimpleNamespace(spec=SimpleNamespace(pool=name))
    children = [SimpleNamespace(pid=os.getpid(), template=template, notes=WorkerNotes(0.0, 0.0)) for _ in range(count)]
    return SimpleNamespace(config=SimpleNamespace(name=name), workers=SimpleNamespace(children=children))


def test_a_slow_process_is_left_out_and_holds_up_nobody(looker: Looker) -> None:
    sampler = MemorySampler(looker.services)
    pools = {"www": make_pool("www"), "shop": make_pool("shop")}
    slow, other = (pool.workers.children[0].notes for pool in pools.values())
    try:
        sampler.sample(pools, looker.loop.now)
        looker.run(lambda: slow.pss is not None and other.pss is not None)
        assert slow.pss > 1 << 20
        # Whatever holds the reader up, it looks at the first of them.
        (reader,) = looker.services.reapers
        os.kill(reader, signal.SIGSTOP)
        slow.pss_due = other.pss_due = slow.pss_at = 0.0
        other.pss = None
        now = looker.loop.now + 100
        sampler.sample(pools, now)
        looker.run(lambda: not looker.services.reapers)
        assert slow.pss_due - slow.pss_at >= LOOK_MAX / SHARE
        sampler.sample(pools, now)
        looker.run(lambda: other.pss is not None)
        assert [child.notes for child in choose(pools.values(), {}, slow.pss_due - 1)] == [other]
    finally:
        sampler.close()


def test_a_pool_has_its_share_of_the_looks() -> None:
    large, small = make_pool("large", 1000), make_pool("small")
    chosen = choose([large, small], {}, 1.0)
    assert small.workers.children[0] in chosen
    assert len(chosen) < 100
    assert choose([large, small], {"large": 1.0 + 0.1 / POOL_SHARE}, 2.0) == small.workers.children
