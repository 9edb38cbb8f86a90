"""The standard streams as a command needs them: open from the first line on, and their end is no fault of ours."""

from __future__ import annotations

import os
import sys


def open_missing_streams() -> None:
    """Open /dev/null at each of the descriptors 0, 1 and 2 that our caller has closed (`2>&-`, cron, old init scripts).

    Otherwise the next socket or file would get the number, and what is printed would end up there.
    """
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(fd)
        except OSError:  # EBADF; open(2) takes the lowest number, and lower ones are open by now
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(fd, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115  until the process exits


def flush_output() -> OSError | None:
    """Write what is still buffered; if somebody takes no more of it, drop it, and return the reason.

    Without that the interpreter would report it at its end, with an exit status of its own (120).
    """
    failure = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            failure = failure or error
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
    return failure
