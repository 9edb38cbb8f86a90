"""A process's own account of where it is: faulthandler(3) on a signal, for where nobody may trace it.

The handler is C and takes no lock: it works while the process sits in C, waits for a lock or holds the GIL. It writes
to a memfd that the master reads, which never blocks. It shows the thread that takes the signal, which is the first one
(the kernel prefers it, signal(7)), and no other: reading the frames of threads that run meanwhile ends in SIGSEGV
sooner or later (seen after some hundred times with CPython 3.11, 3.12 and 3.13).
"""

from __future__ import annotations

import faulthandler
import signal

from fpm.pool.spec import FD_STACK

NUMBER = int(signal.SIGRTMAX) - 5
"""The signal. Real-time signals kill by default, so only a process that has said that it listens may be sent it. This
one is far from both ends, where C libraries, debuggers and emulators take theirs."""


def listen() -> bool:
    """Write the stack to FD_STACK whenever NUMBER comes; children of fork(2) do so, too. Again does no harm.

    Returns:
        False if the application has a handler of its own for this signal, which stays.
    """
    if signal.getsignal(NUMBER) != signal.SIG_DFL:
        return False
    # SA_RESTART, as faulthandler sets it: what the kernel can begin again, the application does not notice.
    faulthandler.register(NUMBER, file=FD_STACK, all_threads=False, chain=False)
    return True
