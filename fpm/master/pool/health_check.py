"""`reload.check`: one internal request to a worker on trial, made by a process of its own.

The client may wait and may meet any answer; the master may not wait, so it executes `python -m fpm.client.check` with
one end of a socket pair and gives the other end to the worker.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable
from signal import Signals

from fpm.config.model import ReloadCheck
from fpm.master.loop.loop import Timer
from fpm.master.loop.output import OutputReader
from fpm.master.loop.read_budget import Share
from fpm.master.pool.child import Child
from fpm.master.processes.spawn import spawn
from fpm.master.services import Services

GRACE = 5.0
"""Seconds beyond the check's own time that the client may need to start."""


class Checker:
    """One check under way."""

    def __init__(
        self, services: Services, check: ReloadCheck, child: Child, done: Callable[[str | None], None]
    ) -> None:
        """
        Args:
            done: gets None if the worker has answered rightly, else what was wrong.
        """
        self._services = services
        self._done: Callable[[str | None], None] | None = done
        self._lines: list[str] = []
        self._output = OutputReader(services.loop, Share(), lambda line, closed: self._lines.append(line), 4096)
        self._pid = 0
        ours, theirs = socket.socketpair()
        try:
            child.channel.send({"command": "check"}, [theirs.fileno()])
            self._pid = self._spawn(check, ours.fileno())
        finally:
            ours.close()
            theirs.close()
            self._output.close_writer()
        services.reapers[self._pid] = self._ended
        self._timer: Timer = services.loop.call_later(check.timeout + GRACE, self.cancel)

    def cancel(self) -> None:
        """End it; `done` hears that it took too long, unless it has been called already."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, Signals.SIGKILL)

    def forget(self) -> None:
        """End it without a word: nobody wants to know any more."""
        self._done = None
        self.cancel()

    def _spawn(self, check: ReloadCheck, fd: int) -> int:
        arguments = [sys.executable, "-m", "fpm.client.check", check.method, check.path, str(check.status)]
        arguments.append(f"{check.timeout:g}")
        out = self._output.write_fd
        return spawn(arguments, {0: fd, 1: out, 2: out}, {"PYTHONPATH": os.pathsep.join(sys.path)})

    def _ended(self, status: int) -> None:
        self._timer.cancel()
        self._output.finish()
        done, self._done = self._done, None
        if done is not None:
            words = " ".join(self._lines).strip() or f"the check ended with status {status} and said nothing"
            done(None if status == 0 else words)
