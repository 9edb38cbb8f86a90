"""A queue over all pools in which no pool holds up another. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items of pools; the pools take turns, and within a pool who came first is first."""

    def __init__(self, limit: int) -> None:
        """`limit`: how many items of one pool may wait."""
        self._limit = limit
        self._pools: OrderedDict[str, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(items) for items in self._pools.values())

    def add(self, pool: str, item: T) -> bool:
        """Put it last among its pool's; False if too many wait."""
        items = self._pools.setdefault(pool, deque())
        if len(items) >= self._limit:
            return False
        items.append(item)
        return True

    def take(self, may_pool: Callable[[str], bool], may_item: Callable[[T], bool]) -> T | None:
        """The next item whose turn it is and that is allowed now, as its pool is; the pool is the last in turn then."""
        for pool, items in self._pools.items():
            if not may_pool(pool):
                continue
            for index, item in enumerate(items):
                if may_item(item):
                    del items[index]
                    self._pools.move_to_end(pool)
                    if not items:
                        del self._pools[pool]
                    return item
        return None

    def discard(self, pool: str, item: T) -> None:
        """Forget an item, if it waits."""
        items = self._pools.get(pool)
        if items is not None and item in items:
            items.remove(item)
            if not items:
                del self._pools[pool]
