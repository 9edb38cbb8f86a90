"""What the processes of a pool may ask of the kernel: the last steps, after which nothing of this can be undone."""

from __future__ import annotations

import os
from collections.abc import Callable

from fpm.kernel.bpf import compile_filter
from fpm.kernel.denied import denied
from fpm.kernel.system_call import load_filter, own_machine
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
    if spec.no_new_privs:
        prctl = load_prctl()
        steps.append(("no_new_privs", lambda: prctl(PR_SET_NO_NEW_PRIVS, 1)))
    if spec.seccomp != "off":
        # The last of all: no other step need be allowed by the filter.
        steps.append((f"seccomp = {spec.seccomp}", load_filter(compile_filter(denied(spec.seccomp), own_machine()))))
    return steps


def _set_umask(mask: int) -> None:
    os.umask(mask)
