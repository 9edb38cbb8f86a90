"""A pipe between the workers of a pool and a log that they must not hold themselves; the master copies what comes.

Whoever holds a description of standard error can shut it down, truncate it, and write lines that look like the
master's. So workers get the writing end of this pipe, which never makes them wait, and the master writes whole lines,
escaped and marked where they could be taken for its own. It reads seldom and much, charged to the pool.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time

from fpm.log.escape import escape_line, show_stray_bytes
from fpm.log.lines import LIKE_OUR_JSON, LIKE_OURS
from fpm.log.target import Target
from fpm.master.log_watch import LogWatch
from fpm.master.loop.loop import Loop, Timer
from fpm.master.loop.read_budget import ReadBudget

CAPACITY = 262144
"""Bytes of the pipe: some thousand lines while the master is busy (F_SETPIPE_SZ, fcntl(2))."""
CHUNK = 65536
CHUNKS_PER_TURN = 4
PAUSE = 0.02
"""Seconds between two reads, so that the master does not wake up for each request."""
LINE_MAX = 16384
"""Bytes; what has no end of line by then is written as a line."""
_LIKE_OURS = re.compile(LIKE_OURS.encode() + rb"|" + LIKE_OUR_JSON.encode(), re.MULTILINE)
_UNUSUAL = re.compile(rb"[^\n -~]")


class LogPipe:
    """Copies lines to a target. Without one they wait in the pipe."""

    def __init__(self, loop: Loop, share: ReadBudget, fds: tuple[int, int] | None = None) -> None:
        """Make a pipe, or go on with the two ends of one (inherited in an upgrade)."""
        self._loop = loop
        self._share = share
        self.fd, self.write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if fds is None else fds
        with contextlib.suppress(OSError):  # the user's limit for pipes is used up (pipe(7)): the default size will do
            fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, CAPACITY)
        self._target: Target | None = None
        self._watch: LogWatch | None = None
        self._timer: Timer | None = None
        self._rest = b""
        self._is_over = False

    @property
    def is_waiting(self) -> bool:
        """Do lines wait for a target?"""
        return self._target is None

    def copy_to(self, target: Target) -> None:
        """Copy to this target from now on; the pipe closes it."""
        self._drop_target()
        target.own()
        self._target = target
        self._watch = LogWatch(self._loop, target)
        self._resume()

    def retire(self) -> None:
        """Copy until no worker holds the pipe any more."""
        os.close(self.write_fd)
        self.write_fd = -1

    def close(self) -> None:
        """Copy what has come, and close everything."""
        if self.fd < 0:
            return
        self._pause()
        if self._target is not None:
            self._copy()
            if self._rest:
                self._target.write(make_harmless(self._rest) + b"\n")
        self._drop_target()
        os.close(self.fd)
        if self.write_fd >= 0:
            os.close(self.write_fd)
        self.fd = self.write_fd = -1

    def _drop_target(self) -> None:
        if self._watch is not None:
            self._watch.forget()
        if self._target is not None:
            self._target.close()

    def _on_readable(self) -> None:
        begin = time.monotonic()
        self._copy()
        now = time.monotonic()
        self._share.spend(now - begin, now)
        if self._is_over:
            self.close()
            return
        self._pause()
        self._timer = self._loop.call_later(max(PAUSE, self._share.pause(now)), self._resume)

    def _copy(self) -> None:
        assert self._target is not None
        for _ in range(CHUNKS_PER_TURN):
            try:
                came = os.read(self.fd, CHUNK)
            except BlockingIOError:
                break
            self._is_over = not came
            if not came:
                break
            data = self._rest + came
            end = len(data) if len(data) - data.rfind(b"\n") > LINE_MAX else data.rfind(b"\n") + 1
            self._rest = data[end:]
            if end:
                lines = data[:end] if data[:end].endswith(b"\n") else data[:end] + b"\n"
                self._target.write(make_harmless(lines))
        if self._watch is not None:
            self._watch.look()

    def _resume(self) -> None:
        self._timer = None
        self._loop.watch(self.fd, self._on_readable)

    def _pause(self) -> None:
        self._loop.forget(self.fd)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def make_harmless(lines: bytes) -> bytes:
    """Escape what a terminal would act on, and the beginning of a line that could be taken for one of the master's."""
    if _UNUSUAL.search(lines):
        text = lines.decode("utf-8", "surrogateescape")
        escaped = (escape_line(show_stray_bytes(line)) for line in text.split("\n"))
        lines = "\n".join(escaped).encode("utf-8", "backslashreplace")
    return _LIKE_OURS.sub(lambda found: b"\\x%02x" % found[0][0], lines)
