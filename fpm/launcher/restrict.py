"""What the processes of a pool may ask of the kernel: the last steps, after which nothing of this can be undone."""

from __future__ import annotations

import os
from collections.abc import Callable

from fpm.launcher.capabilities import drops_capabilities, load_capabilities
from fpm.launcher.label import prepare_labels
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
    if spec.landlock:
        from fpm.launcher.landlock import prepare_landlock  # a millisecond, for pools that want it

        steps += prepare_landlock(spec)
    steps += prepare_labels(spec)
    if spec.seccomp != "off":
        from fpm.launcher.seccomp import prepare_filter  # the same

        # The last of all: no other step need be allowed by the filter.
        steps.append((f"seccomp = {spec.seccomp}", prepare_filter(spec.seccomp)))
    return steps


def _set_umask(mask: int) -> None:
    os.umask(mask)
