"""Leaves the session keyring of whoever started the daemon (keyctl(2), session-keyring(7)).

It is inherited by fork and exec and survives a change of user: whoever possesses it may read the keys in it, an
administrator's Kerberos tickets and file system keys for example.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from fpm.kernel.system_call import load_system_call

KEYCTL_JOIN_SESSION_KEYRING = 1
REFUSED = frozenset({errno.ENOSYS, errno.EPERM})
"""What kernels without keys and the seccomp filters of containers say, which have no keyring to give away either."""


def load_join_keyring() -> Callable[[], None]:
    """Load the C library and return a function that exchanges the session keyring for a new, empty one.

    The returned function loads nothing, as that of fpm.system.prctl. It raises OSError if the kernel has keyrings, but
    cannot make another one.

    Raises:
        ImportError: this Python has no ctypes.
    """
    call = load_system_call()

    def join() -> None:
        try:
            call("keyctl", KEYCTL_JOIN_SESSION_KEYRING, 0)
        except OSError as error:
            if error.errno not in REFUSED:
                raise

    return join
