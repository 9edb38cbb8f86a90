"""A process's own account of where it is, on a signal: for where nobody may trace it.

It writes to a memfd that the master reads, which never blocks. There are two ways, for neither does for all:

POLITE is handled by Python, between two instructions of the first thread: then no thread moves, and all can be shown.
A process that sits in C, in a system call that goes on after a signal, or in a lock does not come to it.

FORCED is handled by faulthandler's C code at once, whatever the process does. That must only happen to a process that
stands in C: where Python code runs, its frames may be half made, and reading them ends in SIGSEGV (seen once in some
thousand times with CPython 3.11, 3.12 and 3.13; with all threads once in some hundred). It shows the first thread only.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from types import FrameType

from fpm.protocol.spec import BEGIN, END, FD_STACK, FORCED, NUMBERS, POLITE, STACK_MAX

THREADS_MAX = 512


def listen() -> bool:
    """Write the stack to FD_STACK whenever one of the signals comes; children of fork(2) do so, too.

    To be called in the first thread. Again does no harm.

    Returns:
        False if the application has a handler of its own for one of these signals, which stays.
    """
    if signal.getsignal(FORCED) != signal.SIG_DFL or signal.getsignal(POLITE) not in (
        signal.SIG_DFL,
        write_stacks,
    ):
        return False
    signal.signal(POLITE, write_stacks)
    # As faulthandler does it: what the kernel can begin again after a signal (SA_RESTART), nobody notices.
    signal.siginterrupt(POLITE, False)
    faulthandler.register(FORCED, file=FD_STACK, all_threads=False, chain=False)
    return True


def write_stacks(number: int, frame: FrameType | None) -> None:
    """The handler of POLITE: the stacks of all threads, and then `ident tid` of those that Python knows."""
    try:
        if os.fstat(FD_STACK).st_size > STACK_MAX:
            os.ftruncate(FD_STACK, 0)  # never shorter, so that the master notices
        os.write(FD_STACK, BEGIN)
        faulthandler.dump_traceback(file=FD_STACK, all_threads=True)
        # Not threading.enumerate(): it takes a lock that the code which is interrupted may hold.
        known = list(getattr(threading, "_active", {}).items())[:THREADS_MAX]
        os.write(FD_STACK, NUMBERS + b"".join(b"%x %d\n" % (ident, thread.native_id or 0) for ident, thread in known))
        os.write(FD_STACK, END)
    except (OSError, MemoryError, RecursionError):
        return  # the application must not get it instead; the master sees that no end has come
