"""No pool holds up another in the queue of stacks."""

from __future__ import annotations

from fpm.master.tracing.queue import FairQueue


def any_pool(pool: str) -> bool:
    return True


def any_item(item: int) -> bool:
    return True


def test_pools_take_turns() -> None:
    queue: FairQueue[int] = FairQueue(10)
    for item in range(3):
        queue.add("busy", item)
    queue.add("calm", 10)
    assert [queue.take(any_pool, any_item) for _ in range(5)] == [0, 10, 1, 2, None]


def test_what_is_not_allowed_waits() -> None:
    queue: FairQueue[int] = FairQueue(10)
    for item in range(3):
        queue.add("a", item)
        queue.add("b", 10 + item)
    assert queue.take(lambda pool: pool == "b", any_item) == 10
    assert queue.take(any_pool, lambda item: item == 2) == 2
    assert len(queue) == 4


def test_a_pool_has_room_for_so_many() -> None:
    queue: FairQueue[int] = FairQueue(2)
    assert [queue.add("a", item) for item in range(3)] == [True, True, False]
    assert queue.add("b", 1)
    queue.discard("a", 0)
    queue.discard("a", 99)
    queue.discard("c", 1)
    assert [queue.take(any_pool, any_item) for _ in range(3)] == [1, 1, None]
