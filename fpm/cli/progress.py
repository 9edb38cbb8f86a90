"""One line about what a command waits for: on a terminal it is updated, in a pipe it comes after a second.

There it comes again if something else is waited for half a minute later, then after a minute, after two, and so on.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fpm.cli.output import has_journal, inform
from fpm.log.escape import escape

TICK = 1.0
"""Seconds to the first line, and between two updates."""
AGAIN = 30.0
"""Seconds from the first line in a pipe to the second; each later one takes twice as long."""
ERASE = b"\r\x1b[K"


class Progress:
    """The line; nothing is shown in the journal, where the daemon's own log has the same.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._is_live = sys.stderr.isatty()
        self._is_silent = has_journal()
        self._clock = clock
        self._shown = ""
        self._next, self._pause = 0.0, AGAIN

    def show(self, text: str) -> None:
        """Show what is waited for; "" shows nothing."""
        if not text or self._is_silent:
            return
        now = self._clock()
        if not self._is_live and self._shown:
            if now < self._next or text == self._shown:
                return
            self._pause *= 2
        self._shown, self._next = text, now + self._pause
        if self._is_live:
            width = max(shutil.get_terminal_size().columns - 1, 10)
            line = escape(text)
            os.write(2, ERASE + (line if len(line) <= width else f"{line[: width - 3]}...").encode())
        else:
            inform(text)

    def erase(self) -> None:
        """Remove the line from the terminal, before something else is printed and at the end."""
        if self._is_live and self._shown:
            os.write(2, ERASE)

    @contextmanager
    def every_second(self, words: Callable[[], str]) -> Iterator[None]:
        """Show the `words` while the caller waits in a system call, which Python resumes after the signal."""
        former = signal.signal(signal.SIGALRM, lambda number, frame: self.show(words()))
        signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, former)
            self.erase()
