"""A process of a pool that is not the master's child: its pid, believed or only reported, and its pidfd.

A pid comes from the template or from the kernel (credentials of the worker's first message). It is believed only if
that process is a child of the pool's template (or, orphaned, of the master): a hostile pool cannot make the master
signal another process. Signals go through the pidfd, so that a pid used again is no danger either.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Mapping
from typing import Any

from fpm.master.listening.inherited import InheritedFds, take_inherited
from fpm.master.loop.loop import Loop
from fpm.master.processes.owner import OwnerCheck
from fpm.scoreboard.snapshot import PID_MAX
from fpm.system.proc_stat import PARENT, SESSION, read_stat


class ProcessHandle:
    """One process, from before it is known until it has been given up."""

    def __init__(self, loop: Loop, owner: OwnerCheck) -> None:
        self._loop = loop
        self._owner = owner
        self.pid = 0
        self.pidfd = -1
        self.reported_pid = 0
        """What the template says; used to match its own report of the exit and in texts, never to signal."""

    @property
    def name(self) -> int:
        """The pid by which it is called in texts; 0 as long as nobody knows one."""
        return self.pid or self.reported_pid

    def learn(self, pid: int, template: int) -> bool:
        """Believe a pid, or not.

        Args:
            template: the pid of the template that has forked it.

        Returns:
            False if this process cannot be a worker of that template.
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
        if parent != template and not (parent == os.getpid() and session == template != pid):
            os.close(pidfd)
            return False
        self.pid, self.pidfd = pid, pidfd
        return True

    def send_signal(self, number: int) -> bool:
        """Signal exactly this process (pidfd_send_signal(2)); False if it cannot be reached.

        One that has become another user's gets none; what follows is as if it had ignored it.
        """
        if self.pidfd < 0:
            return False
        if self.is_stranger():
            return True
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except OSError:
            return False
        return True

    def is_stranger(self) -> bool:
        """Has it become another user's? That is logged once."""
        return self.pid > 0 and self._owner.is_stranger(self.pid)

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
            self._loop.forget(self.pidfd)
            callback()

        if self.pidfd >= 0:
            self._loop.watch(self.pidfd, ended)

    def close(self) -> None:
        """Give the pidfd back."""
        if self.pidfd >= 0:
            self._loop.forget(self.pidfd)
            os.close(self.pidfd)
            self.pidfd = -1

    def dump(self, kept: InheritedFds) -> dict[str, int]:
        """Describe it for the next master."""
        return {"pid": self.pid, "pidfd": kept.keep(self.pidfd), "reported_pid": self.reported_pid}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `dump` was."""
        self.pid, self.reported_pid = state["pid"], state["reported_pid"]
        self.pidfd = take_inherited(state["pidfd"])


def _family_of(pid: int) -> tuple[int, int]:
    """Read parent and session from /proc/PID/stat (proc(5)); 0, 0 if the process is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = read_stat(f"/proc/{pid}/stat")
        return int(fields[PARENT]), int(fields[SESSION])
    return 0, 0
