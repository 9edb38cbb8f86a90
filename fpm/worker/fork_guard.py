"""What becomes of processes that the application forks from a worker.

What it forks from a worker (os.fork(), multiprocessing) is a copy of the worker, and no worker.

A copy has the worker's descriptors and shares its memory with the master. It may do what it likes with the
application's things, but the client, the master, the scoreboard and the other workers are not for it: their
descriptors are exchanged for an empty file in it, and when it comes back from the application's code, it ends.
Nothing of this costs a request anything: a copy has other objects in place of those of the worker.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable
from typing import NoReturn

from fpm.library import current
from fpm.scoreboard.writer import SlotWriter
from fpm.worker.process_end import finish_threads, flush_streams
from fpm.worker.stdio import write_error
from fpm.wsgi.response import renew_lock
from fpm.wsgi.sink import PlainFile


class ForkGuard:
    """Makes harmless copies of this worker.

    Args:
        descriptors: those that are not for a copy.
    """

    def __init__(self, slot: SlotWriter, descriptors: Callable[[], Iterable[int]]) -> None:
        self._slot = slot
        self._descriptors = descriptors
        self._is_copy = False
        os.register_at_fork(after_in_child=self._become_copy)

    def _become_copy(self) -> None:
        if self._is_copy:
            return  # a copy's own child: the descriptors may be something else by now
        self._is_copy = True
        renew_lock()
        request, current.request, current.is_copy = current.request, None, True
        if request is not None:
            request.disown()
        descriptors = list(self._descriptors())
        kind = type(self._slot)
        self._slot.__class__ = type("Returned", (kind,), {"__slots__": (), "__getattribute__": _come_back})
        empty = os.memfd_create("pyfpm-copy", os.MFD_CLOEXEC)  # /dev/null may not be there in a jail
        for fd in descriptors:
            os.dup2(empty, fd, inheritable=False)
        os.close(empty)


class NullSink:
    """Where the output of a copy goes: nowhere. To finish the response is to come back from the application."""

    finished = can_finish = False

    def find_file(self, file: object) -> None:
        """Nothing."""

    def send_file(self, head: bytes, file: PlainFile, size: int) -> int:
        """Nothing."""
        return size

    def send(self, data: bytes, is_last: bool = False) -> None:
        """Nothing."""

    def finish(self, data: bytes) -> None:
        """Ends the process."""
        leave_copy(None)


def _come_back(slot: SlotWriter, name: str) -> NoReturn:
    """Stand in the way of whoever wants to use the slot of the worker: he has come back from the application."""
    leave_copy(None)


def leave_copy(error: BaseException | None) -> NoReturn:
    """End a process that the application has forked and that has come back from its code, as Python ends a program.

    It must not go on as a second worker. What is registered with atexit belongs to the worker and is not called.

    Args:
        error: what has brought it back, if it was not a return.
    """
    code = 0
    if isinstance(error, SystemExit):
        if error.code is not None and not isinstance(error.code, int):
            write_error(f"{error.code}\n")
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        traceback.print_exception(error)
        code = 1
    finish_threads()
    flush_streams()
    os._exit(code & 0xFF)
