"""Calls prctl(2) through ctypes, to change attributes of the calling process.

A pool's Python may lack ctypes, and ctypes costs memory in every worker, so it is loaded only where it is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
PR_SET_PTRACER = 0x59616D61


def load_prctl() -> Callable[[int, int | bytes], None]:
    """Load the C library and return a function that calls prctl(2) with an option and its argument.

    The returned function loads nothing, so it can be called after a chroot(2) or in a forked child. It raises OSError.

    Raises:
        ImportError: this Python has no ctypes.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)

    def prctl(option: int, argument: int | bytes) -> None:
        value = argument if isinstance(argument, bytes) else ctypes.c_ulong(argument)
        if libc.prctl(option, value, zero, zero, zero) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return prctl


def load_capset() -> Callable[[bytes, bytes], None]:
    """Load the C library and return a function that calls capset(2) with its two structures; it raises OSError.

    Raises:
        ImportError: this Python has no ctypes.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def capset(header: bytes, sets: bytes) -> None:
        # The kernel writes its own version into a header that it does not know, so the header is a copy.
        if libc.capset(ctypes.create_string_buffer(header, len(header)), sets) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return capset
