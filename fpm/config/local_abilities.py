"""Asks the kernel of this machine what it can do to confine a pool. Nothing is changed."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from fpm.config.jail_rights import jail_obstacle, lacking_command, read_setting
from fpm.config.system import Abilities
from fpm.kernel.bpf import refuse
from fpm.kernel.calls import MACHINES, UNIFIED
from fpm.kernel.system_call import (
    LANDLOCK_CREATE_RULESET_VERSION,
    SECCOMP_GET_ACTION_AVAIL,
    load_system_call,
    own_machine,
)

APPARMOR = ("/sys/module/apparmor/parameters/enabled", "/proc/self/attr/apparmor/exec")
SELINUX = ("/sys/fs/selinux/enforce", "/proc/self/attr/exec")
_FILTERED = "this process may not even ask for it (a container's filter of system calls?)"


def look(*, is_root: bool) -> Abilities:
    """Ask for everything."""
    kernel = _look_at_kernel()
    found = {"jail": jail_obstacle(is_root=is_root), "ip": lacking_command("ip", "iproute2")}
    return replace(kernel, missing={**kernel.missing, **{name: reason for name, reason in found.items() if reason}})


@cache
def _look_at_kernel() -> Abilities:
    """Ask once: a kernel does not learn while it runs."""
    try:
        call = load_system_call()
    except ImportError as error:
        reason = f"this Python cannot make system calls: {error}"
        return Abilities(False, 0, False, False, dict.fromkeys(("seccomp", "landlock", "apparmor", "selinux"), reason))
    version, no_landlock = _landlock(call)
    found = {
        "seccomp": _seccomp(call),
        "landlock": no_landlock,
        "apparmor": _apparmor(),
        "selinux": _selinux(),
    }
    missing = {name: reason for name, reason in found.items() if reason}
    return Abilities(not found["seccomp"], version, not found["apparmor"], not found["selinux"], missing)


def _seccomp(call: Callable[..., int]) -> str:
    """Return why there is no seccomp, or ""."""
    machine = own_machine()
    if machine not in MACHINES:
        return f"pyfpm knows the system calls of {' and '.join(MACHINES)}, and this is {machine}"
    try:
        call("seccomp", SECCOMP_GET_ACTION_AVAIL, 0, struct.pack("=I", refuse(0)))
    except OSError as error:
        if error.errno == errno.EPERM:
            return _FILTERED
        return "the kernel has no filters of system calls (CONFIG_SECCOMP_FILTER)"
    return ""


def _landlock(call: Callable[..., int]) -> tuple[int, str]:
    """Return the version of Landlock, or 0 and why there is none."""
    try:
        return call("landlock_create_ruleset", 0, 0, LANDLOCK_CREATE_RULESET_VERSION), ""
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return 0, "Landlock is not among the security modules that the kernel was booted with (lsm=landlock,...)"
        if error.errno == errno.EPERM:
            return 0, _FILTERED
        if own_machine() not in UNIFIED | MACHINES.keys():
            return 0, f"pyfpm does not know the system calls of this kind of machine ({own_machine()})"
        return 0, "the kernel has no Landlock (Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK)"


def _apparmor() -> str:
    enabled, attribute = APPARMOR
    if not os.path.exists(enabled):
        return "the kernel has no AppArmor (CONFIG_SECURITY_APPARMOR)"
    if read_setting(enabled) != "Y":
        return "AppArmor is not among the security modules that the kernel was booted with (apparmor=1, lsm=)"
    return "" if os.path.exists(attribute) else f"there is no {attribute} (Linux 5.8 or later)"


def _selinux() -> str:
    enforce, attribute = SELINUX
    if not os.path.exists(enforce):
        return f"SELinux is not in force: the kernel has none, or was booted without it (no {enforce})"
    return "" if os.path.exists(attribute) else f"there is no {attribute}"
