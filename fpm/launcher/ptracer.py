"""Yama's list of who may trace: a process names the master, so that the master's tracer may attach.

With kernel.yama.ptrace_scope = 1 only ancestors may trace, unless the process names another with PR_SET_PTRACER
(prctl(2)); that process and its descendants may then. The name is not inherited by fork(2).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

PR_SET_PTRACER = 0x59616D61


def permission_for(pid: int) -> Callable[[], str]:
    """What each process has to call after its fork, so that `pid` and its descendants may trace it.

    Args:
        pid: 0: nobody is to be named, and nothing happens.

    Returns:
        A function that returns "" or why it failed. A kernel without Yama (EINVAL) has no such list, and needs none.
    """
    if not pid:
        return lambda: ""
    try:
        # Late: only where Yama wants it. It is called in the template, so workers find it loaded.
        import ctypes
    except ImportError as error:
        reason = f"this Python cannot name its tracer: {error}"
        return lambda: reason
    libc = ctypes.CDLL(None, use_errno=True)

    def permit() -> str:
        if libc.prctl(PR_SET_PTRACER, ctypes.c_ulong(pid), 0, 0, 0) == 0:
            return ""
        number = ctypes.get_errno()
        return "" if number == errno.EINVAL else f"prctl(PR_SET_PTRACER, {pid}): {os.strerror(number)}"

    return permit
