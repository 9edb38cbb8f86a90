"""What the processes of a pool share; it exists only once the pool has processes."""

from __future__ import annotations

import os
import socket

from fpm.master.loop.loop import Loop
from fpm.master.pool.saturation import WakeupFd
from fpm.scoreboard.memory import Scoreboard


class Shared:
    """The scoreboard, the eventfd with which workers wake the master, the parking socket; all close-on-exec."""

    def __init__(self, loop: Loop, board: Scoreboard, wake: int, park: tuple[socket.socket, socket.socket]) -> None:
        self.board = board
        self.wake = wake
        self.wakeup = WakeupFd(loop, board.view, wake)
        self.park = park

    @classmethod
    def create(cls, loop: Loop, slots: int, former: Shared | None = None) -> Shared:
        """Make them.

        Args:
            former: what the generations before share; the parking socket stays the same, so that workers that leave
                can give their connections to those of the next generation.

        Raises:
            OSError: no descriptors or no memory left.
        """
        if former is None:
            park = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            for end in park:
                end.setblocking(False)
        else:
            park = former.park[0].dup(), former.park[1].dup()
        return cls(loop, Scoreboard.create(slots), os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), park)

    def close(self) -> None:
        """Give everything back."""
        self.wakeup.close()
        self.board.close()
        os.close(self.wake)
        for end in self.park:
            end.close()
