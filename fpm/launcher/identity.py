"""Becoming the pool's user: limits, priority, jail, groups, gid, uid, and no way back.

The order is PHP-FPM's (fpm_unix_init_child): everything that needs root first, the uid last. Each step that fails
raises OSError with the step in `filename`, so that the message names it.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable

from fpm.protocol.spec import TemplateSpec
from fpm.system.prctl import PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_PTRACER, load_prctl


def apply_identity(spec: TemplateSpec) -> None:
    """Apply rlimits, priority, chroot, chdir, groups, gid, uid, dumpable and no_new_privs, in this order.

    Raises:
        OSError: a step failed; `filename` says which.
    """
    prctl = load_prctl()  # before chroot: nothing is loaded from inside the jail
    _step("rlimit_files", lambda: _limit_files(spec))
    core = spec.rlimit_core
    if core is not None:
        value = resource.RLIM_INFINITY if core < 0 else core
        _step(f"rlimit_core = {core}", lambda: resource.setrlimit(resource.RLIMIT_CORE, (value, value)))
    priority = spec.priority
    if priority is not None:
        _step(f"process.priority = {priority}", lambda: os.setpriority(os.PRIO_PROCESS, 0, priority))
    root = spec.chroot
    if root is not None:
        _step(f"chroot = {root}", lambda: os.chroot(root))
        os.chdir("/")
    _change_user(spec)
    directory = spec.chdir
    if directory is not None:
        # After the change of user: a directory that only root can enter must fail here, not surprise later.
        _step(f"chdir = {directory}", lambda: os.chdir(directory))
    if spec.dumpable:
        _step("process.dumpable", lambda: prctl(PR_SET_DUMPABLE, 1))
    if spec.no_new_privs:
        _step("no_new_privs", lambda: prctl(PR_SET_NO_NEW_PRIVS, 1))


def _limit_files(spec: TemplateSpec) -> None:
    soft, hard = spec.original_rlimit_files
    if spec.rlimit_files:
        soft = spec.rlimit_files
        hard = max(soft, hard) if os.geteuid() == 0 else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _change_user(spec: TemplateSpec) -> None:
    uid, gid = spec.uid, spec.gid
    if uid is None or gid is None:
        return
    _step(f"group = {gid}", lambda: os.setresgid(gid, gid, gid))
    _step(f"supplementary groups of uid {uid}", lambda: os.setgroups(spec.groups))
    _step(f"user = {uid}", lambda: os.setresuid(uid, uid, uid))


def _step(name: str, action: Callable[[], None]) -> None:
    try:
        action()
    except ValueError as error:  # resource.setrlimit raises it for a limit above the hard one
        raise OSError(0, str(error), name) from error
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from error


def permission_for(pid: int) -> Callable[[], str]:
    """What each process has to call after its fork, so that `pid` and its descendants may trace it.

    With kernel.yama.ptrace_scope = 1 only ancestors may trace, unless the process names another with PR_SET_PTRACER
    (prctl(2)); that process and its descendants may then. The name is not inherited by fork(2).

    Args:
        pid: 0: nobody is to be named, and nothing happens.

    Returns:
        A function that returns "" or why it failed. A kernel without Yama (EINVAL) has no such list, and needs none.
    """
    if not pid:
        return lambda: ""
    try:
        prctl = load_prctl()  # only where Yama wants it; this is the template, so workers find it loaded
    except ImportError as error:
        reason = f"this Python cannot name its tracer: {error}"
        return lambda: reason

    def permit() -> str:
        try:
            prctl(PR_SET_PTRACER, pid)
        except OSError as error:
            return "" if error.errno == errno.EINVAL else f"prctl(PR_SET_PTRACER, {pid}): {error.strerror}"
        return ""

    return permit
