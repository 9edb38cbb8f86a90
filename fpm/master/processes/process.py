"""The master's own process: descriptors, orphans, and waiting for children without blocking."""

from __future__ import annotations

import contextlib
import os
import resource
import select
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from fpm.config.model import GlobalConfig
from fpm.errors import StartError
from fpm.events.base import Emit
from fpm.events.master import OrphanKilled
from fpm.master.processes.exits import Usage
from fpm.master.processes.owner import Ids, is_of_pools
from fpm.system.prctl import PR_SET_CHILD_SUBREAPER, load_prctl

if TYPE_CHECKING:
    import psutil

ROUNDS = 100
PAUSE = 10
"""Milliseconds between two checks of killed processes."""


def keep_descriptors() -> None:
    """Keep executed processes from inheriting what this one was started with, except the standard streams."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2:
            with contextlib.suppress(OSError):  # the descriptor that listed the others is closed
                os.set_inheritable(fd, False)


def apply_limits(settings: GlobalConfig) -> tuple[int, int]:
    """Apply rlimit_files, rlimit_core and process.priority of [global] to the master; its pools inherit them.

    Without rlimit_files the master takes as many descriptors as it may, and templates get the original limit back.

    Returns:
        RLIMIT_NOFILE (soft, hard) for pools without a limit of their own.

    Raises:
        StartError: one is not permitted.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files, core, priority = settings.rlimit_files, settings.rlimit_core, settings.process_priority
    if files:
        soft = hard = files
        _apply("rlimit_files", files, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))
    else:
        with contextlib.suppress(OSError):  # a hard limit above fs.nr_open (proc_sys_fs(5)) is no use to anybody
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if core is not None:
        value = resource.RLIM_INFINITY if core < 0 else core
        _apply("rlimit_core", core, lambda: resource.setrlimit(resource.RLIMIT_CORE, (value, value)))
    if priority is not None:
        _apply("process.priority", priority, lambda: os.setpriority(os.PRIO_PROCESS, 0, priority))
    return soft, hard


def _apply(name: str, value: int, action: Callable[[], None]) -> None:
    try:
        action()
    except (OSError, ValueError) as error:  # resource.setrlimit raises ValueError for a limit above the hard one
        reason = error.strerror if isinstance(error, OSError) else error
        raise StartError(
            f"[global] {name} = {value} cannot be applied: {reason}; choose a value that this user may set"
        ) from error


def become_subreaper() -> None:
    """Make the master the parent of workers whose template exits (PR_SET_CHILD_SUBREAPER, prctl(2))."""
    load_prctl()(PR_SET_CHILD_SUBREAPER, 1)


def reap_next(before: Callable[[int], None], after: Callable[[int, int, Usage], None]) -> int:
    """Reap one child that has exited.

    Args:
        before: called with its pid while it is still a zombie.
        after: called with its pid, status and usage when it is gone.

    Returns:
        Its pid; 0 if no child has exited.
    """
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    if ended is None:
        return 0
    before(ended.si_pid)
    pid, status, used = os.wait4(ended.si_pid, 0)
    after(pid, status, Usage(used.ru_utime, used.ru_stime, used.ru_maxrss << 10))
    return pid


def own_children() -> list[int]:
    """List the children of this process, which has one thread (/proc/PID/task/TID/children, proc(5))."""
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return [child.pid for child in _this_process().children()]


def _this_process() -> psutil.Process:
    import psutil  # a megabyte that a master needs at its end

    return psutil.Process()


def descendants() -> list[psutil.Process]:
    """Return all processes below this one."""
    return _this_process().children(recursive=True) if own_children() else []


def end_orphans(others: Collection[psutil.Process], ids: Collection[Ids], emit: Emit) -> None:
    """Kill and reap the processes that applications have left behind, in any session.

    All of them are below the master, because it is a subreaper.

    Args:
        others: processes that do not belong to pools.
        ids: users and groups of pools; those that have become another's are left alone.
    """
    pause = select.poll()
    logged: set[psutil.Process] = set()
    for _ in range(ROUNDS):
        # Killing one makes its children the master's, and it may have forked before: look again.
        left = [process for process in descendants() if process not in others and is_of_pools(process.pid, ids)]
        if not left:
            return
        for process in left:
            _end(process, logged, emit)
        while reap_next(lambda pid: None, lambda pid, status, usage: None):
            continue
        pause.poll(PAUSE)


def _end(process: psutil.Process, logged: set[psutil.Process], emit: Emit) -> None:
    import psutil

    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return
        if process not in logged:
            logged.add(process)
            emit(OrphanKilled(process.name(), pid=process.pid))
        process.kill()  # psutil checks that it is still the same process
    except psutil.NoSuchProcess:
        return
