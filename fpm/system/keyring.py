"""Leaves the session keyring of whoever started the daemon (keyctl(2), session-keyring(7)).

It is inherited by fork and exec and survives a change of user: whoever possesses it may read the keys in it, an
administrator's Kerberos tickets and file system keys for example.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

KEYCTL_JOIN_SESSION_KEYRING = 1
KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "loongarch64": 219, "ppc64le": 271, "s390x": 280}
"""Numbers of keyctl(2): no C library has a function for it."""
REFUSED = frozenset({errno.ENOSYS, errno.EPERM})
"""What kernels without keys and the seccomp filters of containers say, which have no keyring to give away either."""


def load_join_keyring() -> Callable[[], None]:
    """Load the C library and return a function that exchanges the session keyring for a new, empty one.

    The returned function loads nothing, as that of fpm.system.prctl. It raises OSError if the kernel has keyrings, but
    cannot make another one.

    Raises:
        ImportError: this Python has no ctypes.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    number = KEYCTL.get(os.uname().machine)

    def join() -> None:
        if number is None:
            return
        name = ctypes.c_void_p(None)
        if libc.syscall(ctypes.c_long(number), ctypes.c_long(KEYCTL_JOIN_SESSION_KEYRING), name) < 0:
            code = ctypes.get_errno()
            if code not in REFUSED:
                raise OSError(code, os.strerror(code))

    return join
