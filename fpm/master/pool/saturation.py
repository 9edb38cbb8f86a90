"""Who notices that a pool is full, without waking the master for every request.

Armed: the scoreboard tells the workers below how many idle ones to ring the pool's bell. Watching: nobody is idle, so
the master looks at the listening socket itself, and at what busy workers have parked. Off: the pool is as large as it
may be, or does not want to know. A wake-up that turns out to be for nothing makes the next one wait a little longer.
"""

from __future__ import annotations

import fcntl
import termios
from collections.abc import Callable

from fpm.master.loop.loop import Loop, Timer
from fpm.master.pool.wakeup import Bell, Wish

FIRST_PAUSE = 0.002
LONGEST_PAUSE = 0.1
FULLNESS = "fullness"


class Fullness:
    """The descriptors that can tell the master about one pool; when one has done so, none is watched any more."""

    def __init__(self, loop: Loop, notice: Callable[[], None], count_idle: Callable[[], int]) -> None:
        """
        Args:
            notice: called when the pool may be full; nothing is watched then, until one of the methods is called.
            count_idle: the idle workers at this moment.
        """
        self._loop = loop
        self._notice = notice
        self._count_idle = count_idle
        self._listen_fd = -1
        self._parked_fd = -1
        self._bell: Bell | None = None
        self._timer: Timer | None = None
        self._pause = 0.0

    def set_listener(self, fd: int) -> None:
        """The listening socket's descriptor (another one after a reload)."""
        self.off()
        self._listen_fd = fd

    def set_scoreboard(self, bell: Bell, parked_fd: int) -> None:
        """The bell of the scoreboard whose workers shall speak up, the socket where connections are parked."""
        self.off()
        self._parked_fd = parked_fd
        self._bell = bell

    def arm(self, below: int) -> None:
        """Be told when fewer than `below` workers are idle; 0 is the same as off()."""
        if below <= 0 or self._bell is None:
            self.off()
            return
        self._forget_waiting()
        self._delay(lambda: self._arm_now(below))

    def watch_listener(self) -> None:
        """Be told when a connection waits."""
        self._disarm()
        self._delay(self._watch_now)

    def anything_parked(self) -> bool:
        """Does a connection wait that a worker has parked before it became busy? There may be a request on it."""
        if self._parked_fd < 0:
            return False
        return any(fcntl.ioctl(self._parked_fd, termios.FIONREAD, bytes(4)))

    def off(self) -> None:
        """Be told nothing."""
        self._cancel()
        self._disarm()
        self._forget_waiting()

    def was_for_nothing(self) -> None:
        """The last notice led, so far, to nothing: wait a little before the next."""
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)

    def was_right(self) -> None:
        """The last notice made workers: the next may come at once."""
        self._pause = 0.0

    def _watch_now(self) -> None:
        for fd in (self._listen_fd, self._parked_fd):
            if fd >= 0:
                self._loop.watch(fd, self._on_event)

    def _forget_waiting(self) -> None:
        self._forget(self._listen_fd)
        self._forget(self._parked_fd)

    def _arm_now(self, below: int) -> None:
        if self._bell is not None:
            self._bell.want(FULLNESS, Wish(below, self._on_event, self._count_idle))
            # A worker that became busy before it was asked to speak up has kept silent.
            if self._count_idle() < below:
                self._on_event()

    def _delay(self, action: Callable[[], None]) -> None:
        self._cancel()
        if self._pause > 0:
            self._timer = self._loop.call_later(self._pause, action)
        else:
            action()

    def _on_event(self) -> None:
        self.off()
        self._notice()

    def _disarm(self) -> None:
        if self._bell is not None:
            self._bell.forget(FULLNESS)

    def _forget(self, fd: int) -> None:
        if fd >= 0:
            self._loop.forget(fd)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
