"""Signals as events: the handlers do nothing, the wakeup descriptor wakes the loop, and the loop decides.

See signal(7) and signal.set_wakeup_fd.
"""

from __future__ import annotations

import os
import signal
from signal import Signals

HANDLED = (
    Signals.SIGTERM,
    Signals.SIGINT,
    Signals.SIGQUIT,
    Signals.SIGUSR1,
    Signals.SIGUSR2,
    Signals.SIGHUP,
    Signals.SIGCHLD,
)


class SignalReader:
    """A pipe with the numbers of the signals received."""

    def __init__(self) -> None:
        self.fd, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in HANDLED:
            signal.signal(number, _do_nothing)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        # An upgrade blocks them across exec(2), so that none meets its default action.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        # The parent process may have blocked some, and the mask is inherited.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    def read(self) -> set[Signals]:
        """Return the signals since the last call; several of one kind count once."""
        try:
            data = os.read(self.fd, 4096)
        except BlockingIOError:
            return set()
        return {Signals(number) for number in data if number in HANDLED}

    def close(self) -> None:
        """Close the pipe and ignore later signals: the exit and its status have been decided."""
        for number in HANDLED:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        os.close(self.fd)
        os.close(self._write)


def _do_nothing(number: int, frame: object) -> None:
    """Do nothing: the loop handles the signal."""
