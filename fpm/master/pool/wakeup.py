"""A scoreboard's bell: the eventfd with which its workers wake the master.

A worker that takes a request, and then counts fewer idle workers than the scoreboard's number says, writes to the
eventfd. The number is the largest that anybody in the master wants; nobody wants anything: 0, and the bell is silent.
A wish holds for one ring.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from fpm.master.loop.loop import Loop
from fpm.scoreboard.memory import set_wake_below

ANY_REQUEST = 0xFFFF
"""More than there can be idle workers: the next one that takes a request rings."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants to hear of what."""

    below: int
    """Idle workers."""
    notice: Callable[[], None]
    count_idle: Callable[[], int]


class Bell:
    """One scoreboard's eventfd and number."""

    def __init__(self, loop: Loop, view: memoryview, fd: int) -> None:
        """
        Args:
            view: the scoreboard.
            fd: the eventfd; it stays the caller's.
        """
        self._loop = loop
        self._view = view
        self._fd = fd
        self._wishes: dict[str, Wish] = {}

    def want(self, who: str, wish: Wish) -> None:
        """Tell `who` once; replaces an earlier wish of the same name."""
        self._wishes[who] = wish
        self._arm()

    def forget(self, who: str) -> None:
        """Do not tell `who`."""
        if self._wishes.pop(who, None) is not None:
            self._arm()

    def close(self) -> None:
        """Before the eventfd is closed."""
        self._wishes.clear()
        self._loop.forget(self._fd)

    def _arm(self) -> None:
        set_wake_below(self._view, max((wish.below for wish in self._wishes.values()), default=0))
        if self._wishes:
            self._loop.watch(self._fd, self._on_ring)
        else:
            self._loop.forget(self._fd)
            _drain(self._fd)

    def _on_ring(self) -> None:
        """Tell those whose wish has come true. If it is nobody's any more, it was somebody's a moment ago: all."""
        _drain(self._fd)
        true = {who: wish for who, wish in self._wishes.items() if wish.count_idle() < wish.below}
        told = true or self._wishes
        self._wishes = {who: wish for who, wish in self._wishes.items() if who not in told}
        self._arm()
        for wish in told.values():
            wish.notice()


def _drain(fd: int) -> None:
    """Reset the eventfd without ever waiting: a process of the pool can make it a blocking one (F_SETFL, fcntl(2))."""
    with contextlib.suppress(BlockingIOError):  # nothing had been written
        os.preadv(fd, [bytearray(8)], -1, os.RWF_NOWAIT)
