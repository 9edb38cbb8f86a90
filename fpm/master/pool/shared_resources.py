"""What the processes of a pool share, generation by generation; it exists only once the pool has processes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Mapping
from typing import Any

from fpm.master.listening.inherited import InheritedFds, take_inherited
from fpm.master.loop.loop import Loop
from fpm.master.pool.pool_world import PoolWorld
from fpm.master.pool.saturation import WakeupFd
from fpm.scoreboard.memory import Scoreboard
from fpm.system.descriptors import is_shut_down


class SharedResources:
    """The scoreboard, the eventfd with which workers wake the master, the parking socket; all close-on-exec."""

    def __init__(self, loop: Loop, board: Scoreboard, wake: int, park: tuple[socket.socket, socket.socket]) -> None:
        self.board = board
        self.wake = wake
        self.wakeup = WakeupFd(loop, board.view, wake)
        self.park = park

    @classmethod
    def create(cls, loop: Loop, slots: int, former: SharedResources | None = None) -> SharedResources:
        """Make them.

        Args:
            former: what the generations before share; the parking socket stays the same, so that workers that leave
                can give their connections to those of the next generation.

        Raises:
            OSError: no descriptors or no memory left.
        """
        if former is None or former.is_spoiled:
            park = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            for end in park:
                end.setblocking(False)
        else:
            park = former.park[0].dup(), former.park[1].dup()
        return cls(loop, Scoreboard.create(slots), os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), park)

    @property
    def is_spoiled(self) -> bool:
        """Has a process of the pool shut down the parking socket?"""
        return is_shut_down(self.park[0].fileno())

    def dump(self, kept: InheritedFds) -> dict[str, Any]:
        """Describe it for the next master."""
        return {
            "board": kept.keep(self.board.fd),
            "slots": self.board.slots,
            "wake": kept.keep(self.wake),
            "park": [kept.keep(end.fileno()) for end in self.park],
        }

    @classmethod
    def restore(cls, loop: Loop, state: Mapping[str, Any]) -> SharedResources:
        """Make the same from what `dump` has said."""
        board = Scoreboard(take_inherited(state["board"]), state["slots"], owns_fd=True)
        fds = [take_inherited(fd) for fd in state["park"]]
        take, put = (socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=fd) for fd in fds)
        for end in (take, put):
            end.setblocking(False)
        return cls(loop, board, take_inherited(state["wake"]), (take, put))

    def close(self) -> None:
        """Give everything back."""
        self.wakeup.close()
        self.board.close()
        os.close(self.wake)
        for end in self.park:
            end.close()


class PoolResources:
    """What the generations of one pool share: most have all in common; one that needs more slots brings its own."""

    def __init__(self, loop: Loop, changed: Callable[[SharedResources], None]) -> None:
        """`changed`: called when the present generation has got another scoreboard."""
        self._loop = loop
        self._changed = changed
        self.current: SharedResources | None = None
        """The present generation's; None while the pool has never had a process."""
        self.others: list[SharedResources] = []
        """Of former generations, and of one that is being checked."""
        self._responder: SharedResources | None = None
        self.world = PoolWorld()

    @property
    def board(self) -> Scoreboard | None:
        """The present scoreboard."""
        return self.current.board if self.current is not None else None

    def all(self) -> list[SharedResources]:
        """Every one that a worker may use, the present one's last."""
        return [*self.others, *([self.current] if self.current is not None else [])]

    def for_current(self, slots: int) -> SharedResources:
        """Provide the present generation with so many slots.

        Raises:
            OSError: no descriptors or no memory left.
        """
        if self.current is None or self.current.board.slots < slots or self.current.is_spoiled:
            self.take(SharedResources.create(self._loop, slots, self.current or self._responder))
        assert self.current is not None
        return self.current

    def for_trial(self, slots: int) -> SharedResources:
        """Provide a generation that is to be checked: with the present one's, if that has so many slots.

        Raises:
            OSError: no descriptors or no memory left.
        """
        if self.current is not None and self.current.board.slots >= slots and not self.current.is_spoiled:
            return self.current
        shared = SharedResources.create(self._loop, slots, self.current or self._responder)
        self.others.append(shared)
        return shared

    def for_responder(self) -> SharedResources:
        """Provide the 503 responder, which has a scoreboard of its own.

        Its parking socket is the pool's, also if it comes before all workers: what it parks when it leaves is theirs.

        Raises:
            OSError: no descriptors or no memory left.
        """
        if self._responder is None:
            self._responder = SharedResources.create(self._loop, 1, self.current)
        return self._responder

    def park_for(self, shared: SharedResources) -> tuple[int, int]:
        """The parking socket; what the responder parks when it leaves is for the pool's workers."""
        take, put = (self.current or shared).park
        return take.fileno(), put.fileno()

    def take(self, shared: SharedResources) -> None:
        """Let this be the present generation's."""
        if shared is self.current:
            return
        if shared in self.others:
            self.others.remove(shared)
        if self.current is not None:
            self.others.append(self.current)
        self.current = shared
        self._changed(shared)

    def release(self, boards: Collection[Scoreboard]) -> None:
        """Close what only former generations have used; the scoreboards with workers on them are given."""
        for shared in [one for one in self.others if all(one.board is not board for board in boards)]:
            self.others.remove(shared)
            shared.close()

    def dump(self, kept: InheritedFds) -> list[dict[str, Any]]:
        """Describe all but the responder's, which does not outlive an upgrade."""
        return [shared.dump(kept) for shared in self.all()]

    def restore(self, states: list[dict[str, Any]]) -> None:
        """Go on where `dump` was."""
        restored = [SharedResources.restore(self._loop, state) for state in states]
        if restored:
            self.others = restored[:-1]
            self.current = restored[-1]
            self._changed(self.current)

    def close(self) -> None:
        """Give everything back."""
        self.world.close()
        for shared in [*self.all(), *([self._responder] if self._responder is not None else [])]:
            shared.close()
