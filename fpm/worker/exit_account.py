"""Where an application ends its worker by os._exit(), which nobody could say otherwise: the process is gone at once.

The application's os._exit tells the master the calls that have led to it, and goes on to the system's, whatever
happens. It tells nothing in a process that a worker has forked (multiprocessing ends all of them in this way), nor in
a template. fpm itself has its own copy of `os`, see fpm.launcher.boot, and C code does not come this way.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from fpm.protocol.messages import EXIT_CALLS, Exiting
from fpm.worker.master_channel import MasterChannel

LINE_MAX = 200
"""Characters of a line, of which the end says more."""
_leave, _pid_of_self = os._exit, os.getpid


class _Account:
    """Who tells it, and to whom."""

    pid = 0
    master: MasterChannel | None = None


def watch_exit() -> None:
    """Put the function that tells in the place of os._exit, before the application is imported; by its name, too."""
    _exit.__module__ = _leave.__module__
    vars(sys.modules["os"])["_exit"] = _exit


def tell_exit(master: MasterChannel) -> None:
    """Tell this master from now on: this process is a worker."""
    _Account.pid, _Account.master = _pid_of_self(), master


def _exit(status: int) -> NoReturn:
    """Exit to the system with specified status, without normal exit processing."""
    try:
        if _Account.master is not None and _Account.pid == _pid_of_self() and isinstance(status, int):
            _Account.master.send(Exiting(list(_calls(sys._getframe(1)))))
    finally:
        _leave(status)


def _calls(frame: FrameType | None) -> Iterator[str]:
    """List the application's calls, the newest first, as in "leave (/srv/shop/views.py:41)"."""
    for _ in range(EXIT_CALLS):
        if frame is None or str(frame.f_globals.get("__name__")).startswith("fpm."):
            return
        code = frame.f_code
        yield f"{code.co_qualname} ({code.co_filename}:{frame.f_lineno})"[-LINE_MAX:]
        frame = frame.f_back
