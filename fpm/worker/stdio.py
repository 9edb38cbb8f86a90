"""sys.stdout and sys.stderr of a worker: line-buffered, and never blocking on a pipe that nobody reads.

poll(2) says that a pipe is writable when PIPE_BUF bytes fit, so a write of at most that many cannot block, whatever
other processes of the pool write. A master that is busy is waited for a little; then lines are dropped and counted.
"""

from __future__ import annotations

import io
import select
import sys
from os import write as write_fd
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer

PIPE_BUF = select.PIPE_BUF
PATIENCE = 0.1
"""Seconds to wait for room in the pipe, once until something is written again."""


class PipeOutput(io.RawIOBase):
    """The raw side of a text stream over a pipe."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._dropped = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The pipe's descriptor."""
        return self._fd

    def write(self, data: Buffer, /) -> int:
        """Writes all of `data` or drops its rest; always says that all was written, as losing lines is no error."""
        whole = bytes(data)
        start = 0
        try:
            while start < len(whole):
                if not self._has_room():
                    self._dropped += whole.count(b"\n", start) or 1
                    break
                if self._dropped:
                    self._tell_dropped()
                    continue  # whether there is room for more is another question
                write_fd(self._fd, whole[start : start + PIPE_BUF])
                start += PIPE_BUF
        except OSError:
            return len(whole)  # the master is gone: nobody will ever read it
        return len(whole)

    def _has_room(self) -> bool:
        return bool(self._poll.poll(0 if self._dropped else PATIENCE * 1000))

    def _tell_dropped(self) -> None:
        note = b"%d lines were lost here because the log did not keep up\n" % self._dropped
        self._dropped = 0
        write_fd(self._fd, note)


def open_output(fd: int) -> TextIO:
    """A text stream over descriptor 1 or 2 of a worker; characters that UTF-8 cannot say are escaped."""
    raw = PipeOutput(fd)
    return io.TextIOWrapper(
        io.BufferedWriter(cast(io.RawIOBase, raw), PIPE_BUF),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


def replace_standard_streams() -> None:
    """Give the application streams that never block, before its import: what it makes of them, or puts there, stays.

    They go by descriptor number, so they may be made before the descriptors are what they will be in the worker.
    """
    for name, fd in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__") or getattr(stream, "closed", False):
            setattr(sys, name, open_output(fd))


def open_errors() -> Any:
    """sys.stderr as wsgi.errors, which must be a stream (PEP 3333) whatever the application has put there."""
    stream = sys.stderr
    is_stream = all(hasattr(stream, method) for method in ("write", "writelines", "flush"))
    return stream if is_stream and not getattr(stream, "closed", False) else open_output(2)


def write_error(text: str) -> None:
    """Write to standard error as it is for the log, not as the application may have changed it."""
    output = open_output(2)
    output.write(text)
    output.flush()
