"""Priority over everything else while a process stands still, and an end to it: no pool may have it for long."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from types import FrameType

READER_PRIORITY = 1
"""Of SCHED_FIFO, sched(7): while a process stands still for us, nothing is more urgent than to let it go on."""
THREADS_MAX = 32
"""Threads of a process up to which that is so; more take longer, and others want the processor, too."""
TIME_MAX = 5000
"""Microseconds of it (RLIMIT_RTTIME, setrlimit(2)), after which it goes on like any other process."""
TIME_LAST = 50_000
"""Microseconds after which the kernel ends it."""


@contextlib.contextmanager
def urgent(threads: int) -> Iterator[None]:
    """Run with priority over everything else, where that is allowed, as long as TIME_MAX lasts."""
    if threads > THREADS_MAX:
        yield
        return
    signal.signal(signal.SIGXCPU, _calm_down)
    with contextlib.suppress(OSError):
        resource.setrlimit(resource.RLIMIT_RTTIME, (TIME_MAX, TIME_LAST))
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(READER_PRIORITY))
    try:
        yield
    finally:
        _calm_down()


def _calm_down(number: int = 0, frame: FrameType | None = None) -> None:
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
