"""pyfpm's own processes beside the pools. What they send is trusted as little as what pools send.

Some are long-lived (the status process, the tracer), others answer one question and exit.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from signal import Signals
from typing import Any

from fpm.events.master import HelperExited, HelperOutput, HelperStartFailed
from fpm.frozen import dataclass
from fpm.master.core import Core
from fpm.master.loop.channel import HelperChannel
from fpm.master.loop.fair_reader import FairReader, Share
from fpm.master.loop.loop import NamedTimers
from fpm.master.loop.output import OutputReader
from fpm.master.processes.backoff import YOUNG, Backoff, after_template_failure
from fpm.master.processes.exits import parse_status
from fpm.system.spawn import spawn_helper

FD_CHANNEL = 3
"""The number that executed packages use (their FD_CHANNEL)."""
LINE_MAX = 1024


@dataclass(frozen=True, slots=True)
class Owner:
    """Callbacks of the object that needs the process."""

    is_wanted: Callable[[], bool]
    """Says whether there should be such a process now."""
    started: Callable[[], None]
    """It has been started; it reads its channel when it is ready."""
    received: Callable[[dict[str, Any]], None]
    """Gets each message."""
    heard: Callable[[], None]
    """Called after all pending messages have been received."""
    ended: Callable[[], None]
    """It has exited, and has lost everything it was told."""


class HelperProcess:
    """A process that is started again, after a growing pause, whenever it exits.

    It has a SOCK_SEQPACKET channel to the master as descriptor 3: end of file there means that the master is gone.
    It has more attributes than other classes: a channel, two pipes, a process, and when to start it again.
    """

    def __init__(
        self, core: Core, name: str, module: str, owner: Owner, arguments: Callable[[], Sequence[str]] = tuple
    ) -> None:
        """Prepare the process without starting it.

        Args:
            name: for the log, "the status process".
            module: the module that it runs.
            arguments: returns its command line arguments, called at each start.
        """
        self._core = core
        self._name = name
        self._module = module
        self._owner = owner
        self._arguments = arguments
        self.pid = 0
        """0 while there is none."""
        self.share = Share(core.loop)
        self._started = 0.0
        self._channel: HelperChannel | None = None
        self._reader: FairReader | None = None
        self._output: OutputReader | None = None
        self._backoff = Backoff()
        self._timers = NamedTimers(core.loop)
        self._stopping = False
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Tell whether there is a process to send to."""
        return self._channel is not None

    @property
    def pause(self) -> float:
        """Return the seconds until it is started again after a failure; 0.0 if nothing delays it."""
        return max(self._backoff.until - self._core.loop.now, 0.0) if "start" in self._timers else 0.0

    def start(self) -> None:
        """Execute it, unless it runs or is not wanted; after a failure only when the pause is over."""
        if self._closed or self.pid or "start" in self._timers or not self._owner.is_wanted():
            return
        channel = HelperChannel()
        loop, emit, name = self._core.loop, self._core.emit, self._name
        output = OutputReader(self.share, lambda line, _: emit(HelperOutput(name, line)), LINE_MAX)
        placed = {FD_CHANNEL: channel.peer.fileno(), 1: output.write_fd, 2: output.write_fd}
        self._started = loop.now
        try:
            self.pid = spawn_helper(self._module, self._arguments(), placed)
        except OSError as error:
            channel.close()
            output.finish()
            emit(HelperStartFailed(name, f"{error.strerror}"))
            self._start_later()
            return
        channel.close_peer()
        output.close_writer()
        self._channel, self._output = channel, output
        self._core.reapers[self.pid] = self._ended
        self._reader = FairReader(self.share, channel.fd, self._on_channel)
        self._owner.started()

    def send(self, message: dict[str, Any], fds: list[int] | None = None) -> bool:
        """Send a message; return False if there is no process, or it does not read."""
        return self._channel is not None and self._channel.send(message, fds)

    def stop(self, patience: float = 0.0) -> None:
        """End it because it is not wanted any more, and forget former failures.

        Args:
            patience: seconds for leaving of its own accord, as its channel has ended; then it is killed.
        """
        self._timers.cancel("start")
        self._backoff = Backoff()
        self._stopping = self.pid != 0
        if not patience or self._channel is None:
            self.kill()
        else:
            self._channel.end()
            self._timers.set("leave", patience, self.kill)

    def await_end(self, pid: int, patience: float) -> None:
        """Wait for the same process of the program before an upgrade, which leaves; kill it if it takes too long."""
        killing = self._core.loop.call_later(patience, lambda: os.kill(pid, Signals.SIGKILL))
        self._core.reapers[pid] = lambda _: killing.cancel()

    def kill(self) -> None:
        """Kill it; it is started again if it is wanted."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, Signals.SIGKILL)

    def close(self) -> None:
        """Kill it for good when the master exits."""
        self._closed = True
        self._timers.cancel_all()
        pid = self.pid
        if pid:
            self._core.reapers.pop(pid, None)
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, Signals.SIGKILL)
                os.waitpid(pid, 0)
        self._forget()

    def _ended(self, status: int) -> None:
        self.pid = 0
        self._timers.cancel("leave")
        wanted, asked = self._owner.is_wanted(), self._stopping
        self._stopping = False
        self._forget()
        if self._closed or not wanted:
            return
        if asked:  # and wanted again in the meantime
            self.start()
            return
        self._start_later()
        self._core.emit(HelperExited(self._name, str(parse_status(status)), self.pause))

    def _start_later(self) -> None:
        now = self._core.loop.now
        if now - self._started >= YOUNG:
            self._backoff = Backoff()
        self._backoff = after_template_failure(self._backoff, now)
        self._timers.set("start", self._backoff.until - now, self.start)

    def _forget(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._output is not None:
            self._output.finish()
            self._output = None
        self._owner.ended()

    def _on_channel(self) -> None:
        if self._channel is None:
            return
        _, alive = self._channel.receive(self.share, lambda received: self._owner.received(received.message))
        if not alive and self._reader is not None:
            self._reader.close()
            self._reader = None
        self._owner.heard()


class OneAnswer:
    """A process that answers one question by its exit status and its output."""

    def __init__(
        self,
        core: Core,
        name: str,
        execute: Callable[[int], int],
        timeout: float,
        done: Callable[[str | None], None],
    ) -> None:
        """Execute the process.

        Args:
            name: for `done`, "the check".
            execute: executes it with this descriptor for its output; returns the pid.
            timeout: seconds after which it is killed.
            done: gets None if its exit status is 0, else its output or another reason.

        Raises:
            OSError: it cannot be executed.
        """
        self._name = name
        self._done: Callable[[str | None], None] | None = done
        self._lines: list[str] = []
        self._output = OutputReader(Share(core.loop), lambda line, closed: self._lines.append(line), 4096)
        try:
            self._pid = execute(self._output.write_fd)
        except OSError:
            self._output.close()
            raise
        self._output.close_writer()
        core.reapers[self._pid] = self._ended
        self._timer = core.loop.call_later(timeout, lambda: self._give_up(timeout))

    def forget(self) -> None:
        """Kill it without calling `done`."""
        self._done = None
        self._kill()

    def _give_up(self, timeout: float) -> None:
        self._kill()
        # A process that hangs in the kernel ends who knows when (state D, proc(5)).
        self._tell(f"{self._name} did not answer within {timeout:g} s")

    def _kill(self) -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, Signals.SIGKILL)

    def _ended(self, status: int) -> None:
        self._pid = 0
        self._timer.cancel()
        self._output.finish()
        words = "\n".join(self._lines).strip() or f"{self._name} ended with status {status} and said nothing"
        self._tell(None if status == 0 else words)

    def _tell(self, wrong: str | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(wrong)
