"""Who notices that a pool is full, without waking the master for every request.

Armed: a worker that leaves too few idle ones wakes the master (`WakeupFd`). Watching: nobody is idle, so the master
looks at the listening socket itself, and at what busy workers have parked. Off: the pool is as large as it may be, or
does not want to know. A wake-up that turns out to be for nothing makes the next one wait a little longer.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import termios
from collections.abc import Callable

from fpm.frozen import dataclass
from fpm.master.loop.loop import Loop, Timer
from fpm.scoreboard.memory import set_wake_below
from fpm.system.listening import Listener

FIRST_PAUSE = 0.002
LONGEST_PAUSE = 0.1
SATURATION = "saturation"
ANY_REQUEST = 0xFFFF
"""More than there can be idle workers: the next one that takes a request writes."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What somebody in the master wants to be told once."""

    below: int
    """Idle workers."""
    notice: Callable[[], None]
    count_idle: Callable[[], int]


class WakeupFd:
    """The eventfd of a scoreboard, and its number.

    A worker that takes a request, and then counts fewer idle workers than the scoreboard's number says, writes to the
    eventfd. The number is the largest that anybody in the master wants; nobody wants anything: 0, and nobody writes.
    """

    def __init__(self, loop: Loop, view: memoryview, fd: int) -> None:
        """
        Args:
            view: the scoreboard.
            fd: the eventfd; it stays the caller's.
        """
        self._loop = loop
        self._view = view
        self._fd = fd
        self._subscriptions: dict[str, Subscription] = {}

    def subscribe(self, who: str, subscription: Subscription) -> None:
        """Tell `who` once; replaces an earlier subscription of the same name."""
        self._subscriptions[who] = subscription
        self._arm()

    def unsubscribe(self, who: str) -> None:
        """Tell `who` nothing any more."""
        if self._subscriptions.pop(who, None) is not None:
            self._arm()

    def close(self) -> None:
        """Before the eventfd is closed."""
        self._subscriptions.clear()
        self._loop.forget(self._fd)

    def _arm(self) -> None:
        set_wake_below(self._view, max((one.below for one in self._subscriptions.values()), default=0))
        if self._subscriptions:
            self._loop.watch(self._fd, self._on_wakeup)
        else:
            self._loop.forget(self._fd)
            _drain(self._fd)

    def _on_wakeup(self) -> None:
        """Tell those whose number is reached. If it is nobody's any more, it was somebody's a moment ago: all."""
        _drain(self._fd)
        true = {who: one for who, one in self._subscriptions.items() if one.count_idle() < one.below}
        told = true or self._subscriptions
        self._subscriptions = {who: one for who, one in self._subscriptions.items() if who not in told}
        self._arm()
        for one in told.values():
            one.notice()


class SaturationWatch:
    """The descriptors that can tell the master about one pool; when one has done so, none is watched any more."""

    def __init__(
        self, loop: Loop, listener: Listener, notice: Callable[[], None], count_idle: Callable[[], int]
    ) -> None:
        """
        Args:
            notice: called when the pool may be full; nothing is watched then, until one of the methods is called.
            count_idle: the idle workers at this moment.
        """
        self._loop = loop
        self._notice = notice
        self._count_idle = count_idle
        self._listener = listener
        self.parked_fd = -1
        """The socket where connections are parked; negative: there has been no process yet."""
        self._wakeup: WakeupFd | None = None
        self._timer: Timer | None = None
        self._pause = 0.0

    @property
    def listen_fd(self) -> int:
        """The descriptor of the listening socket; negative after the end of the pool."""
        return self._listener.socket.fileno()

    def set_scoreboard(self, wakeup: WakeupFd, parked_fd: int) -> None:
        """Take the scoreboard whose workers shall speak up, and the socket where connections are parked."""
        self.off()
        self.parked_fd = parked_fd
        self._wakeup = wakeup

    def arm(self, below: int) -> None:
        """Notice when fewer than `below` workers are idle; 0 is the same as off()."""
        if below <= 0 or self._wakeup is None:
            self.off()
            return
        self._forget_waiting()
        self._delay(lambda: self._arm_now(below))

    def watch_listener(self) -> None:
        """Notice when a connection waits."""
        self._disarm()
        self._delay(self._watch_now)

    def anything_parked(self) -> bool:
        """Does a connection wait that a worker has parked before it became busy? There may be a request on it."""
        if self.parked_fd < 0:
            return False
        return any(fcntl.ioctl(self.parked_fd, termios.FIONREAD, bytes(4)))

    def off(self) -> None:
        """Watch nothing."""
        self._cancel()
        self._disarm()
        self._forget_waiting()

    def was_for_nothing(self) -> None:
        """Wait a little before the next notice: the last one has led, so far, to nothing."""
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)

    def was_right(self) -> None:
        """Let the next notice come at once: the last one has made workers."""
        self._pause = 0.0

    def _watch_now(self) -> None:
        for fd in (self.listen_fd, self.parked_fd):
            if fd >= 0:
                self._loop.watch(fd, self._on_event)

    def _forget_waiting(self) -> None:
        self._forget(self.listen_fd)
        self._forget(self.parked_fd)

    def _arm_now(self, below: int) -> None:
        if self._wakeup is not None:
            self._wakeup.subscribe(SATURATION, Subscription(below, self._on_event, self._count_idle))
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
        if self._wakeup is not None:
            self._wakeup.unsubscribe(SATURATION)

    def _forget(self, fd: int) -> None:
        if fd >= 0:
            self._loop.forget(fd)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _drain(fd: int) -> None:
    """Reset the eventfd without ever waiting: a process of the pool can make it a blocking one (F_SETFL, fcntl(2))."""
    with contextlib.suppress(BlockingIOError):  # nothing had been written
        os.preadv(fd, [bytearray(8)], -1, os.RWF_NOWAIT)
