"""Carries out `seccomp`: the kernel refuses system calls to the processes of a pool."""

from __future__ import annotations

import errno
from collections.abc import Callable

from fpm.kernel.bpf import compile_filter
from fpm.kernel.calls import MACHINES
from fpm.kernel.denied import Level, denied
from fpm.kernel.system_call import load_filter, own_machine


def prepare_filter(level: Level) -> Callable[[], None]:
    """Return what installs the filter; it raises OSError.

    Raises:
        OSError: the calls of this machine are not known; `filename` is the step.
    """
    machine = own_machine()
    if machine not in MACHINES:
        raise OSError(errno.ENOSYS, f"pyfpm does not know the system calls of {machine}", f"seccomp = {level}")
    return load_filter(compile_filter(denied(level), machine))
