"""Makes system calls for which C libraries have no function: seccomp(2), landlock_create_ruleset(2) and others."""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Callable

from fpm.kernel.calls import number_of

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_GET_ACTION_AVAIL = 2
LANDLOCK_CREATE_RULESET_VERSION = 1
"""Ask for the version instead of making a ruleset."""
SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4
"""Kernels before 5.16 would else switch mitigations on for the process, which slow it down far more than the filter."""


def own_machine() -> str:
    """Return the kind of machine for whose calls this process is built, as uname(2) names it."""
    return os.uname().machine if sys.maxsize > 1 << 32 else f"{os.uname().machine} with 32 bits"


def load_system_call() -> Callable[..., int]:
    """Load the C library and return a function that makes a call by its name, with numbers or bytes as arguments.

    The returned function loads nothing, as that of fpm.system.prctl. It raises OSError; ENOSYS if there is no such call
    here, or this machine is not known.

    Raises:
        ImportError: this Python has no ctypes.
    """
    import ctypes

    # PyDLL keeps the interpreter's lock: after clone3() there is no other thread that could give it back.
    libc = ctypes.PyDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    machine = own_machine()

    def call(name: str, *arguments: int | bytes) -> int:
        number = number_of(name, machine)
        # The table has no -1, so the kernel says ENOSYS.
        values = [one if isinstance(one, bytes) else ctypes.c_long(one) for one in arguments]
        result: int = libc.syscall(ctypes.c_long(-1 if number is None else number), *values)
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    return call


def load_filter(program: bytes) -> Callable[[], None]:
    """Return what installs a filter in the calling thread and its offspring; it loads nothing, and raises OSError.

    Args:
        program: see fpm.kernel.bpf.

    Raises:
        ImportError: this Python has no ctypes.
    """
    import ctypes

    call = load_system_call()
    code = ctypes.create_string_buffer(program, len(program))

    def install() -> None:
        sock_fprog = struct.pack("H0P", len(code) // 8) + struct.pack("P", ctypes.addressof(code))
        try:
            call("seccomp", SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, sock_fprog)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            call("seccomp", SECCOMP_SET_MODE_FILTER, 0, sock_fprog)  # a kernel before 4.17

    return install
