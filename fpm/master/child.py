"""One worker as the master sees it: a slot, a channel, two pipes and, once its pid is known, a pidfd.

The pid comes from the template or from the kernel (credentials of the worker's first message). It is believed only if
that process is a child of the pool's template (or, orphaned, of the master): a hostile pool cannot make the master
signal another process. Signals go through the pidfd, so that a pid used again is no danger either.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable
from signal import Signals
from typing import TYPE_CHECKING

from fpm.master.channel import Channel
from fpm.master.loop import Timer
from fpm.master.output import OutputReader
from fpm.master.services import Services
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.snapshot import Slot
from fpm.scoreboard.snapshot import read_slot
from fpm.scoreboard.stages import Stage

if TYPE_CHECKING:
    from fpm.master.template_process import TemplateProcess


class Child:
    """A worker of a pool, from the fork request to the end."""

    def __init__(self, services: Services, template: TemplateProcess, board: Scoreboard, slot: int) -> None:
        self.services = services
        self.template = template
        self.board = board
        self.slot = slot
        self.channel = Channel()
        self.outputs: list[OutputReader] = []
        self.started = services.loop.now
        """Monotonic seconds."""
        self.idle_since = self.started
        self.claimed_pid = 0
        """What the template says; used to match its own report of the exit, never to signal."""
        self.pid = 0
        self.pidfd = -1
        self.ready = False
        self.leaving: str | None = None
        """Why it has been told to leave; None while it shall stay."""
        self.held = False
        """Proves a new generation: it accepts nothing yet."""
        self.outgoing = False
        """Of an old generation: serves until a new worker takes its place."""
        self.awaits_replacement = False
        self.timer: Timer | None = None

    @property
    def counts(self) -> bool:
        """Is it one of the workers that the process manager counts?"""
        return self.leaving is None and not self.outgoing and not self.held

    @property
    def stage(self) -> Stage:
        """What it does, by its own word."""
        byte = self.board.stages[self.slot]
        return Stage(byte) if byte in Stage.__members__.values() else Stage.FREE

    def read_slot(self) -> Slot:
        """Its slot of the scoreboard."""
        return read_slot(self.board.view, self.board.slots, self.slot)

    def learn_pid(self, pid: int) -> bool:
        """Believe a pid, or not.

        Returns:
            False if this process cannot be a worker of this pool.
        """
        if pid <= 0:
            return False
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return True  # it has ended already; its exit will be reported
        # The pidfd is open first: whatever /proc says now is about the process that it holds.
        if _parent_of(pid) not in {self.template.pid, os.getpid()}:
            os.close(pidfd)
            return False
        self.pid, self.pidfd = pid, pidfd
        return True

    def send_signal(self, number: Signals) -> bool:
        """Signal exactly this process (pidfd_send_signal(2)); False if it cannot be reached."""
        if self.pidfd < 0:
            return False
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except OSError:
            return False
        return True

    def is_gone(self) -> bool:
        """Has the process ended, as far as its pidfd tells?"""
        if self.pidfd < 0:
            return True
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def set_timer(self, seconds: float, callback: Callable[[], None]) -> None:
        """The next thing to happen to this child; replaces the former timer."""
        self.clear_timer()
        self.timer = self.services.loop.call_later(seconds, callback)

    def clear_timer(self) -> None:
        """No timer any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def close(self) -> None:
        """Give everything back, after the process has ended or could not be made."""
        self.clear_timer()
        if self.channel.fd >= 0:
            self.services.loop.forget(self.channel.fd)
        self.channel.close()
        for output in self.outputs:
            output.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def _parent_of(pid: int) -> int:
    """The parent's pid from /proc/PID/stat (proc(5)); 0 if the process is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        # The name in parentheses may itself hold blanks and parentheses.
        return int(file.read().rpartition(b")")[2].split()[1])
    return 0
