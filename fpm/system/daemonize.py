"""Goes into the background; the parent waits for the outcome and exits with 0, or with the reason and its status.

The protocol on the pipe: an exit status (signed 32 bits), whether the daemon runs (a byte), then text in UTF-8 for
people, up to end of file.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import sys
from collections.abc import Callable

from fpm.errors import EXIT_OK, EXIT_SOFTWARE
from fpm.frozen import dataclass

_HEAD = struct.Struct("=i?")
_TEXT_MAX = 65536
"""Bytes; a pipe takes this much at once, so the daemon never waits for its parent (pipe(7))."""


LOOK_TIME = 1000
"""Milliseconds between two calls of `while_waiting`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the start went.

    Attributes:
        status: exit status of the waiting parent.
        pid: of the daemon; 0 if it does not run.
        text: what is wrong, "" if nothing is.
    """

    status: int
    pid: int
    text: str


def print_problem(outcome: Outcome) -> None:
    """Print what is wrong on standard error. The terminal may be gone; the exit status still reports it."""
    if outcome.text:
        with contextlib.suppress(OSError):
            os.write(2, outcome.text.rstrip("\n").encode("utf-8", "backslashreplace") + b"\n")


class StartReport:
    """The daemon's end of the pipe, which tells the waiting parent once how the start went."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    def ready(self, status: int = EXIT_OK, text: str = "") -> None:
        """Report that the daemon runs: the parent exits with 0, or with a status and a text about what is wrong."""
        self._send(_HEAD.pack(status, True), text)

    def failed(self, status: int, text: str) -> None:
        """Report that the start failed: the parent exits with the status, and says the text."""
        self._send(_HEAD.pack(status, False), text)

    def _send(self, head: bytes, text: str) -> None:
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        message = head + text.encode("utf-8", "backslashreplace")
        # The parent may have been killed meanwhile: the daemon lives on.
        with contextlib.suppress(OSError):
            os.write(fd, message[: _TEXT_MAX - 1])
        os.close(fd)


def daemonize(
    while_waiting: Callable[[], None] = lambda: None, conclude: Callable[[Outcome], None] = print_problem
) -> StartReport:
    """Fork; return in the child only, in a new session, with standard input and output at /dev/null.

    Standard error stays the caller's until the log takes it over, so that earlier errors are seen. The parent waits for
    the report and exits with it; Ctrl-C there stops the daemon's start.

    Args:
        while_waiting: called in the parent every second.
        conclude: called in the parent at the end.

    Raises:
        OSError: pipe(2) or fork(2) failed.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    # A Ctrl-C between the fork and its handler would end the parent and leave the daemon.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        pid = os.fork()
        if pid:
            # Python calls a handler between two of its instructions: a signal that comes just before a system call
            # that blocks would wait until that returns. So the signal writes to a pipe, and both are waited for.
            woken, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            signal.set_wakeup_fd(waker)
            signal.signal(signal.SIGINT, lambda *_: _stop(pid))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if pid:
        os.close(writer)
        outcome = _await_report(reader, woken, pid, while_waiting)
        conclude(outcome)
        os._exit(outcome.status)
    os.close(reader)
    os.setsid()
    _close_streams()
    return StartReport(writer)


def _close_streams() -> None:
    """Put standard input and output to /dev/null."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(null, 1)
    if null > 2:
        os.close(null)


def _stop(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def _await_report(reader: int, woken: int, pid: int, while_waiting: Callable[[], None]) -> Outcome:
    message = b""
    while chunk := _read_report(reader, woken, while_waiting):
        message += chunk
    if len(message) < _HEAD.size:
        return Outcome(EXIT_SOFTWARE, 0, f"pyfpm did not start: {_describe_end(os.waitpid(pid, 0)[1])}")
    status, is_running = _HEAD.unpack_from(message)
    return Outcome(status, pid if is_running else 0, message[_HEAD.size :].decode("utf-8", "replace"))


def _read_report(reader: int, woken: int, while_waiting: Callable[[], None]) -> bytes:
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(woken, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll(LOOK_TIME)}
        if not ready:
            while_waiting()
        if woken in ready:
            os.read(woken, _TEXT_MAX)  # the handler has been called by now
        if reader in ready:
            return os.read(reader, _TEXT_MAX)


def _describe_end(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else "unknown"
        return f"the daemon was killed by signal {number} ({name}) before it was ready"
    return f"the daemon exited with code {os.WEXITSTATUS(status)} before it was ready"
