"""What becomes of a program's managers in the processes that it forks: these neither hold them nor end them."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Held(Protocol):
    """Something that belongs to one process."""

    def let_go(self) -> None:
        """Called in a process that was forked from that one."""


_held: WeakSet[Held] = WeakSet()


def let_go_in_forks(one: Held) -> None:
    """Have let_go() called in every process forked by os.fork() from now on."""
    _held.add(one)


def _after_fork() -> None:
    for one in list(_held):
        one.let_go()


os.register_at_fork(after_in_child=_after_fork)
