"""Facts of the master's own process: descriptors, orphans, and waiting for children without blocking."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable

PR_SET_CHILD_SUBREAPER = 36


def raise_file_limit(wanted: int) -> tuple[int, int]:
    """Let the master have as many descriptors as it may; templates get the original limit back.

    Args:
        wanted: rlimit_files of the configuration; 0: as many as allowed.

    Returns:
        RLIMIT_NOFILE (soft, hard) as the master was started.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = wanted or hard
    if target > hard and os.geteuid() == 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, target))
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(target, hard), hard))
    return soft, hard


def become_subreaper() -> None:
    """Workers whose template dies become children of the master (PR_SET_CHILD_SUBREAPER, prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_next(before: Callable[[int], None], after: Callable[[int, int], None]) -> int:
    """Reap one child that has ended.

    Args:
        before: called while it is still a zombie, with its pid.
        after: called when it is gone, with its pid and status.

    Returns:
        Its pid; 0 if none has ended.
    """
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    if ended is None:
        return 0
    before(ended.si_pid)
    pid, status = os.waitpid(ended.si_pid, 0)
    after(pid, status)
    return pid
