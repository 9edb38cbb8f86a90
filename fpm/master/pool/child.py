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
from typing import TYPE_CHECKING

from fpm.master.loop.channel import PoolChannel
from fpm.master.loop.fair_reader import FairReader
from fpm.master.loop.loop import Timer
from fpm.master.loop.output import OutputReader
from fpm.master.loop.read_budget import Share
from fpm.master.pool.last_output import LastWords
from fpm.master.processes.exits import Usage
from fpm.master.processes.self_dump_fd import OwnStack
from fpm.master.services import Services
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.reading import read_clocks, read_slot
from fpm.scoreboard.snapshot import PID_MAX, Clocks, Slot
from fpm.scoreboard.stages import Stage
from fpm.stacks.trace import Trace
from fpm.system.proc_stat import PARENT, SESSION, read_stat

if TYPE_CHECKING:
    from fpm.master.pool.template_process import TemplateProcess


class Child:
    """A worker of a pool, from the fork request to the end."""

    def __init__(
        self,
        services: Services,
        template: TemplateProcess,
        board: Scoreboard,
        slot: int,
        channel: PoolChannel | None = None,
        own_stack: OwnStack | None = None,
    ) -> None:
        self.services = services
        self.template = template
        self.board = board
        self.slot = slot
        self.channel = channel or PoolChannel()
        self.own_stack = own_stack or OwnStack.create()
        self.outputs: list[OutputReader] = []
        self.last_words = LastWords()
        self.last_stack: Trace | None = None
        """The last that was taken of the request in hand, or before it was ended."""
        self.stack_request = 0
        """The request that it was taken of, as the worker counts; 0: none."""
        self.usage = Usage()
        """Known when it has ended."""
        self.cgroup = ""
        """Its memory cgroup, for fpm.master.processes.oom."""
        self._reader: FairReader | None = None
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
        self.beginning = False
        """Its generation is proved; it has not said yet that it takes requests."""
        self.outgoing = False
        """Of an old generation: serves until a new worker takes its place."""
        self.awaits_replacement = False
        self.pressed = False
        """It has not left, or not started, in time: the master has ended it."""
        self.pss: int | None = None
        """Bytes, when last looked at."""
        self.pss_at = 0.0
        """Monotonic seconds."""
        self.timer: Timer | None = None
        self.closed = False
        self.logged_request = 0
        """The last of its requests that was logged as slow, as it counts them."""

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

    def read_clocks(self) -> Clocks:
        """Of its slot, what limits are measured by."""
        return read_clocks(self.board.view, self.board.slots, self.slot)

    def learn_pid(self, pid: int) -> bool:
        """Believe a pid, or not.

        Returns:
            False if this process cannot be a worker of this pool.
        """
        if not 0 < pid <= PID_MAX:
            return False
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return True  # it has ended already; its exit will be reported
        # The pidfd is open first: whatever /proc says now is about the process that it holds. An orphan is the master's
        # child, like every template; the session that its template has made tells whose it is.
        parent, session = _family_of(pid)
        if parent != self.template.pid and not (parent == os.getpid() and session == self.template.pid != pid):
            os.close(pidfd)
            return False
        self.pid, self.pidfd = pid, pidfd
        return True

    def send_signal(self, number: int) -> bool:
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

    def watch_end(self, callback: Callable[[], None]) -> None:
        """Call back once when the process has ended (pidfd_open(2)), though its template may not have said so yet."""

        def ended() -> None:
            self.services.loop.forget(self.pidfd)
            callback()

        if self.pidfd >= 0:
            self.services.loop.watch(self.pidfd, ended)

    def watch_channel(self, share: Share, callback: Callable[[], object]) -> None:
        """Call back when a message has come, as the pool's share allows."""
        self._reader = FairReader(self.services.loop, share, self.channel.fd, callback, timed=False)

    @property
    def is_heard(self) -> bool:
        """May there be messages that have not been read?"""
        return self._reader is not None

    def forget_channel(self) -> None:
        """Nothing more will come from it."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

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
        self.closed = True
        self.clear_timer()
        self.forget_channel()
        self.channel.close()
        self.own_stack.close()
        for output in self.outputs:
            output.finish()
        if self.pidfd >= 0:
            self.services.loop.forget(self.pidfd)
            os.close(self.pidfd)
            self.pidfd = -1


def _family_of(pid: int) -> tuple[int, int]:
    """Parent and session from /proc/PID/stat (proc(5)); 0, 0 if the process is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = read_stat(f"/proc/{pid}/stat")
        return int(fields[PARENT]), int(fields[SESSION])
    return 0, 0
