"""What the processes of a pool share, over its generations and its 503 responder."""

from __future__ import annotations

import os

from fpm.master.loop.loop import Loop
from fpm.master.pool.shared_resources import PoolResources, SharedResources


def parking_of(shared: SharedResources) -> list[int]:
    """Tell one parking socket from another."""
    return [os.fstat(end.fileno()).st_ino for end in shared.park]


def fail(error: BaseException) -> None:
    raise error


def test_what_the_responder_parks_is_for_the_workers_that_come_after_it() -> None:
    """It is there first in a pool that has failed at its start; a request that it had just accepted was lost."""
    loop = Loop(fail)
    resources = PoolResources(loop, lambda shared: None)
    parking = parking_of(resources.for_responder())
    assert parking_of(resources.for_trial(2)) == parking
    assert parking_of(resources.for_current(2)) == parking
    resources.close()
    loop.close()


def test_a_responder_of_a_pool_that_has_had_workers_parks_for_them() -> None:
    loop = Loop(fail)
    resources = PoolResources(loop, lambda shared: None)
    assert parking_of(resources.for_current(2)) == parking_of(resources.for_responder())
    resources.close()
    loop.close()
