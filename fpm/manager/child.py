"""The master's process as the program sees it: executed, ready, ended; its log is read by a thread."""

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
from collections.abc import Callable, Sequence
from signal import Signals
from typing import Any

from fpm.errors import StartError
from fpm.manager.events import Event, parse_event
from fpm.system.own_command import own_command
from fpm.system.spawn import spawn

FIRST_SOCKET = 3
LINE_MAX = 65536
"""Bytes of a line that are kept."""
KEPT = 1000
"""Events that are remembered, for the reason of a start that fails."""
UNKNOWN = -1
"""The exit status of a process that somebody else has waited for."""


class MasterProcess:
    """One run of a master.

    Args:
        directory: the manager's own.
        sockets: listening sockets by pool.
        on_event: called by the reading thread for each entry of the log.
        on_end: called by it when the process has ended.

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
        self._leash, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        log_end, log_begin = os.pipe2(os.O_CLOEXEC)
        try:
            self.pid = self._spawn(directory, sockets, theirs.fileno(), log_begin)
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:
            self._leash.close()
            os.close(log_end)
            raise
        finally:
            theirs.close()
            os.close(log_begin)
        self._reader = threading.Thread(target=self._read, args=(log_end,), name=f"pyfpm-{self.pid}", daemon=True)
        self._reader.start()

    def _spawn(self, directory: str, sockets: Sequence[tuple[str, socket.socket]], leash: int, log: int) -> int:
        leash_at = FIRST_SOCKET + len(sockets)
        placed = {FIRST_SOCKET + index: one.fileno() for index, (_, one) in enumerate(sockets)}
        placed |= {1: log, 2: log, leash_at: leash}
        arguments = [directory, str(os.getpid()), str(leash_at), *(name for name, _ in sockets)]
        # The environment stays as it is, for with `clear_env = no` applications see it.
        return spawn(own_command("fpm.manager.program", *arguments), placed, os.environ)

    def wait_ready(self, timeout: float) -> list[str]:
        """Block until every pool serves or has failed; returns the names of those that have failed.

        Raises:
            StartError: it has ended, or is not ready within `timeout` seconds.
        """
        leash = self._leash.fileno()
        readable, _, _ = select.select([leash, self._pidfd], [], [], timeout)
        message = self._hear() if leash in readable else {}
        if message.get("ready"):
            return [str(name) for name in message.get("failed", [])]
        if not readable:
            raise StartError(f"the manager did not become ready within {timeout:g} s")
        self.wait(5.0)
        raise StartError(str(message.get("error") or f"the manager ended with exit status {self._status}"))

    def _hear(self) -> dict[str, Any]:
        try:
            found = json.loads(self._leash.recv(LINE_MAX) or b"{}")
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def send_signal(self, number: Signals) -> None:
        """Signal exactly this process, if it still lives."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, number)

    def let_go(self) -> None:
        """In a process that the program has forked: the master is not its child, and not its to hold or to signal."""
        self._leash.close()
        with contextlib.suppress(OSError):  # the thread had closed it, at its end
            os.close(self._pidfd)

    def wait(self, timeout: float | None) -> int | None:
        """Its exit status once it has ended and its log has been read; None if it lives on after `timeout` seconds."""
        return self._status if self._ended.wait(timeout) else None

    # ---------------------------------------------------------------- the thread

    def _read(self, fd: int) -> None:
        """Take the log to its end, then the exit status."""
        rest = b""
        with open(fd, "rb", buffering=0) as log:
            while data := log.read(LINE_MAX):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._take(line)
                rest = rest[:LINE_MAX]
        if rest:
            self._take(rest)
        self._status = self._reap()
        self._leash.close()
        with self._lock:
            os.close(self._pidfd)
            self._pidfd = -1
        self._ended.set()
        self._on_end()

    def _take(self, line: bytes) -> None:
        event = parse_event(line.decode("utf-8", "replace"), time.time())
        self.recent.append(event)
        self._on_event(event)

    def _reap(self) -> int:
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:  # the program ignores SIGCHLD, or waits for all its children by itself
            select.select([self._pidfd], [], [])
            return UNKNOWN
        return os.waitstatus_to_exitcode(status)
