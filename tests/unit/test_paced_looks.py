"""However many want to look at a pool's processes, they look as often as one would, and see the same."""

from __future__ import annotations

from fpm.master.tracing.paced_looks import KEPT, PacedLooks


def test_a_pool_is_looked_at_once_in_a_time() -> None:
    looks: PacedLooks[str] = PacedLooks()
    assert looks.pause("shop", 10.0, 1.0) == 0.0
    looks.begin("shop", 1, 10.0)
    assert [looks.pause("shop", now, 1.0) for now in (10.0, 10.25, 11.0, 12.0)] == [1.0, 0.75, 0.0, 0.0]
    assert looks.pause("shop", 10.5, 2.0) == 1.5, "who asks says how long"
    assert looks.pause("blog", 10.0, 1.0) == 0.0, "of other pools nothing is known"


def test_a_look_is_shared_while_it_is_new_or_under_way() -> None:
    looks: PacedLooks[str] = PacedLooks()
    look = looks.begin("shop", 1, 10.0)
    assert looks.find("shop", 1, 13.0, 1.0) is look, "it has not been answered yet"
    seen: list[str] = []
    look.waiting += [seen.append, seen.append]
    look.finish("a stack")
    assert (seen, look.seen, look.waiting) == (["a stack"] * 2, "a stack", [])
    assert looks.find("shop", 1, 10.9, 1.0) is look
    for pool, what, now in (("shop", 1, 11.0), ("shop", 2, 10.5), ("blog", 1, 10.5)):
        assert looks.find(pool, what, now, 1.0) is None


def test_few_are_remembered() -> None:
    looks: PacedLooks[str] = PacedLooks()
    for number in range(3 * KEPT):
        looks.begin("shop", number, 10.0)
    assert looks.find("shop", 2 * KEPT - 1, 10.0, 1.0) is None
    assert looks.find("shop", 2 * KEPT, 10.0, 1.0) is not None
