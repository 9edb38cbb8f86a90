"""Becoming the pool's user: limits, priority, jail, keyring, groups, gid, uid, and no way back.

The order is PHP-FPM's (fpm_unix_init_child): everything that needs root first, the uid last. Each step that fails
raises OSError with the step in `filename`, so that the message names it.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from fpm.launcher.capabilities import drops_capabilities, load_capabilities
from fpm.launcher.limits import apply_limits
from fpm.launcher.restrict import prepare_restrictions
from fpm.launcher.root import change_root
from fpm.launcher.step import step
from fpm.protocol.spec import TemplateSpec
from fpm.system.keyring import load_join_keyring
from fpm.system.prctl import PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, PR_SET_PTRACER, load_prctl


def apply_identity(spec: TemplateSpec, channel: socket.socket) -> None:
    """Apply limits, jail, keyring, groups, gid, uid, chdir and the restrictions, in this order.

    The process is not dumpable then, until exec(2) makes it so again: see settle_dumpable().

    Raises:
        OSError: a step failed; `filename` says which.
    """
    # Before chroot: nothing is loaded from inside the jail.
    prctl, become_user, restrict = load_prctl(), _prepare_user(spec), prepare_restrictions(spec)
    apply_limits(spec)
    finish_jail = _enter_jail(spec, channel)
    become_user()
    finish_jail()
    directory = spec.chdir
    if directory is not None:
        # After the change of user: a directory that only root can enter must fail here, not surprise later.
        step(f"chdir = {directory}", lambda: os.chdir(directory))
    # What workers leave behind stays below their template, and comes to the master when the template has ended.
    step("a subreaper", lambda: prctl(PR_SET_CHILD_SUBREAPER, 1))
    restrict()


def _enter_jail(spec: TemplateSpec, channel: socket.socket) -> Callable[[], None]:
    """Leave the daemon's root and namespaces; returns what remains to be done as the pool's user."""
    if spec.namespaces:
        from fpm.launcher.jail.build import build_jail  # milliseconds, for pools that want it

        return build_jail(spec, channel)
    change_root(spec.chroot)
    return lambda: None


def _prepare_user(spec: TemplateSpec) -> Callable[[], None]:
    """Load what the change of user needs; returns what carries it out."""
    uid, gid = spec.uid, spec.gid
    if uid is None or gid is None:
        return lambda: None
    join_keyring, bound = load_join_keyring(), load_capabilities().bound if drops_capabilities(spec) else None

    def change() -> None:
        step("a session keyring of its own (kernel.keys.root_maxkeys)", join_keyring)
        if bound is not None:
            step("an empty bounding set of capabilities", bound)
        change_user(uid, gid, spec.groups)

    return change


def change_user(uid: int, gid: int, groups: list[int]) -> None:
    """Become this user, for good.

    Raises:
        OSError: a step failed; `filename` says which.
    """
    step(f"group = {gid}", lambda: os.setresgid(gid, gid, gid))
    step(f"supplementary groups of uid {uid}", lambda: os.setgroups(groups))
    step(f"user = {uid}", lambda: os.setresuid(uid, uid, uid))


def settle_dumpable(spec: TemplateSpec) -> str:
    """Carry out `process.dumpable` in a template: exec(2) has made it dumpable, or not, by the interpreter's file.

    Workers inherit it. Where the user has not changed there is nothing that the processes could give away to him.

    Returns:
        Why it could not be done, or "".
    """
    if spec.uid is None:
        return ""
    try:
        load_prctl()(PR_SET_DUMPABLE, int(spec.dumpable))
    except (ImportError, OSError) as error:
        return f"process.dumpable = {'yes' if spec.dumpable else 'no'} cannot be applied: {error}"
    return ""


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
        prctl = load_prctl()  # this is the template, so workers find it loaded
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
