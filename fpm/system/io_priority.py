"""Sets the priority of a process at disks (ioprio_set(2)), for which no C library has a function."""

from __future__ import annotations

import os
from collections.abc import Callable

IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "loongarch64": 30, "ppc64le": 273, "s390x": 282}
"""Numbers of ioprio_set(2)."""
WHO_PROCESS = 1
CLASSES = {"realtime": 1, "best-effort": 2, "idle": 3}
CLASS_SHIFT = 13


def io_priority_number(text: str) -> int:
    """Return the kernel's number for a class and a level in it, as in "best-effort 4" or "idle"."""
    name, _, level = text.partition(" ")
    return CLASSES[name] << CLASS_SHIFT | int(level or 0)


def load_set_io_priority() -> Callable[[str], None]:
    """Load the C library and return a function that sets the priority of the calling thread and its descendants.

    The returned function loads nothing, as that of fpm.system.prctl. It raises OSError.

    Raises:
        ImportError: this Python has no ctypes.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    machine = os.uname().machine
    number = IOPRIO_SET.get(machine)

    def set_io_priority(text: str) -> None:
        if number is None:
            raise OSError(0, f"the number of ioprio_set(2) is not known for {machine}. Remove the line")
        arguments = (number, WHO_PROCESS, 0, io_priority_number(text))
        if libc.syscall(*map(ctypes.c_long, arguments)) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    return set_io_priority
