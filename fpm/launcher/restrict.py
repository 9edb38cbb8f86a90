"""What the processes of a pool may ask of the kernel: the last steps, after which nothing of this can be undone."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from fpm.kernel.bpf import compile_filter
from fpm.kernel.calls import MACHINES
from fpm.kernel.denied import Level, denied
from fpm.kernel.system_call import load_filter, own_machine
from fpm.launcher.capabilities import drops_capabilities, load_capabilities
from fpm.launcher.label import prepare_labels
from fpm.launcher.landlock import prepare_landlock
from fpm.launcher.step import step
from fpm.protocol.spec import TemplateSpec
from fpm.system.prctl import PR_SET_NO_NEW_PRIVS, load_prctl

Steps = list[tuple[str, Callable[[], None]]]
"""In their order: what the administrator has asked for, and what does it."""


def prepare_restrictions(spec: TemplateSpec) -> Callable[[], None]:
    """Load what is needed while the files of pyfpm can still be seen; nothing is restricted yet.

    Returns:
        What applies the restrictions, in the jail and as the pool's user. It raises OSError; `filename` is the step.
    """
    steps = _prepare_steps(spec)

    def restrict() -> None:
        for name, action in steps:
            step(name, action)

    return restrict


def _prepare_steps(spec: TemplateSpec) -> Steps:
    steps: Steps = []
    umask = spec.umask
    if umask is not None:
        steps.append((f"umask = {umask:03o}", lambda: _set_umask(umask)))
    if drops_capabilities(spec):
        # In a user namespace of its own the process has got them all back.
        bound, clear = load_capabilities()
        steps += [("an empty bounding set of capabilities", bound), ("no capabilities", clear)]
    if spec.no_new_privs:
        prctl = load_prctl()
        steps.append(("no_new_privs", lambda: prctl(PR_SET_NO_NEW_PRIVS, 1)))
    steps += [*prepare_landlock(spec), *prepare_labels(spec)]
    if spec.seccomp != "off":
        # The last of all: no other step need be allowed by the filter.
        steps.append((f"seccomp = {spec.seccomp}", _prepare_filter(spec.seccomp)))
    return steps


def _prepare_filter(level: Level) -> Callable[[], None]:
    machine = own_machine()
    if machine not in MACHINES:
        raise OSError(errno.ENOSYS, f"pyfpm does not know the system calls of {machine}", f"seccomp = {level}")
    return load_filter(compile_filter(denied(level), machine))


def _set_umask(mask: int) -> None:
    os.umask(mask)
