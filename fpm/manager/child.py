"""The master process as its program sees it: executed, ready, exited; a thread reads its events."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from signal import Signals
from typing import Any

from fpm.errors import StartError
from fpm.event_text.describe import describe
from fpm.events.base import Event
from fpm.events.master import MasterOutput
from fpm.events.wire import unpack_event
from fpm.frozen import dataclass
from fpm.protocol.wire import MessageError
from fpm.system.own_command import own_command
from fpm.system.spawn import spawn

FIRST_SOCKET = 3
CHUNK = 65536
LINE_MAX = 4 * 1024 * 1024
"""Bytes of a line that are kept: an event may contain a long traceback."""
KEPT = 1000
"""Number of events that are kept, for the reason of a failed start."""
UNKNOWN = -1
"""The exit status if other code has waited for the process."""


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """The outcome of a reload, true in a condition if the new generations serve; otherwise nothing has changed."""

    ok: bool
    steps: tuple[str, ...]
    """Steps so far, in order."""
    complaints: tuple[str, ...]
    """Reasons for the refusal."""
    traceback: str
    """Traceback of an application that cannot be imported."""

    def __bool__(self) -> bool:
        return self.ok


def read_result(answer: Mapping[str, Any], steps: list[str]) -> ReloadResult:
    """Read the result from the master's last answer."""
    complaints = tuple(str(complaint) for complaint in answer.get("complaints", ()))
    return ReloadResult(bool(answer.get("ok")), tuple(steps), complaints, str(answer.get("traceback") or ""))


class MasterProcess:
    """One run of a master.

    Args:
        directory: the manager's own.
        sockets: listening sockets by pool.
        on_event: called by the reading thread for each event.
        on_end: called by the reading thread when the process has exited.

    Raises:
        OSError: it cannot be executed.
    """

    def __init__(
        self,
        directory: str,
        sockets: Sequence[tuple[str, socket.socket]],
        on_event: Callable[[Event], None],
        on_end: Callable[[], None],
    ) -> None:
        self._on_event = on_event
        self._on_end = on_end
        self.recent: deque[Event] = deque(maxlen=KEPT)
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._status: int | None = None
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        events, their_events = os.pipe2(os.O_CLOEXEC)
        output, their_output = os.pipe2(os.O_CLOEXEC)
        try:
            self.pid = self._spawn(directory, sockets, theirs.fileno(), their_events, their_output)
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:
            self._channel.close()
            os.close(events)
            os.close(output)
            raise
        finally:
            theirs.close()
            os.close(their_events)
            os.close(their_output)
        takers = {events: self._take_event, output: self._take_output}
        self._reader = threading.Thread(target=self._read, args=(takers,), name=f"pyfpm-{self.pid}", daemon=True)
        self._reader.start()

    def _spawn(
        self, directory: str, sockets: Sequence[tuple[str, socket.socket]], channel: int, events: int, output: int
    ) -> int:
        channel_at = FIRST_SOCKET + len(sockets)
        placed = {FIRST_SOCKET + index: one.fileno() for index, (_, one) in enumerate(sockets)}
        placed |= {1: output, 2: output, channel_at: channel, channel_at + 1: events}
        arguments = [directory, str(os.getpid()), str(channel_at), *(name for name, _ in sockets)]
        # The environment is unchanged, because with `clear_env = no` applications see it.
        return spawn(own_command("fpm.manager.program", *arguments), placed, os.environ)

    def wait_ready(self, timeout: float) -> list[str]:
        """Block until every pool serves or has failed; return the names of the failed pools.

        Raises:
            StartError: it has exited, or is not ready within `timeout` seconds.
        """
        channel = self._channel.fileno()
        readable, _, _ = select.select([channel, self._pidfd], [], [], timeout)
        message = self._hear() if channel in readable else {}
        if message.get("ready"):
            return [str(name) for name in message.get("failed", [])]
        if not readable:
            raise StartError(f"the manager did not become ready within {timeout:g} s")
        self.wait(5.0)
        raise StartError(str(message.get("error") or f"the manager ended with exit status {self._status}"))

    def _hear(self) -> dict[str, Any]:
        try:
            found = json.loads(self._channel.recv(CHUNK) or b"{}")
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def send_signal(self, number: Signals) -> None:
        """Signal exactly this process, if it still exists."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, number)

    def detach(self) -> None:
        """Close what belongs to the parent, in a process that the program has forked."""
        self._channel.close()
        with contextlib.suppress(OSError):  # the reading thread has closed it already
            os.close(self._pidfd)

    def wait(self, timeout: float | None) -> int | None:
        """Return the exit status once it has exited and its events have been read; None after `timeout` seconds."""
        return self._status if self._ended.wait(timeout) else None

    # ---------------------------------------------------------------- the reading thread

    def _read(self, takers: dict[int, Callable[[bytes], None]]) -> None:
        """Read the events and the output to their ends, then the exit status."""
        left = dict.fromkeys(takers, b"")
        poll = select.poll()
        for fd in takers:
            poll.register(fd, select.POLLIN)
        while left:
            for fd, _ in poll.poll():
                data = os.read(fd, CHUNK)
                *lines, rest = (left[fd] + data).split(b"\n")
                for line in lines if data else [*lines, rest]:
                    takers[fd](line)
                left[fd] = rest[:LINE_MAX]
                if not data:
                    poll.unregister(fd)
                    os.close(fd)
                    del left[fd]
        self._status = self._reap()
        self._channel.close()
        with self._lock:
            os.close(self._pidfd)
            self._pidfd = -1
        self._ended.set()
        self._on_end()

    def _take_event(self, line: bytes) -> None:
        """Pass on one line of fpm.events.wire; drop a partial one, which a killed master leaves."""
        try:
            self._tell(unpack_event(line))
        except MessageError:
            self._take_output(line)

    def _take_output(self, line: bytes) -> None:
        """Pass on the master's own standard error: a Python error at its start, or in a crash."""
        if line:
            self._tell(describe(MasterOutput(line.decode("utf-8", "replace")), time.time()))

    def _tell(self, event: Event) -> None:
        self.recent.append(event)
        self._on_event(event)

    def _reap(self) -> int:
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:  # the program ignores SIGCHLD, or waits for all its children by itself
            select.select([self._pidfd], [], [])
            return UNKNOWN
        return os.waitstatus_to_exitcode(status)
