"""Takes the capabilities of root away from a process that becomes a pool's user: capabilities(7)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import NamedTuple

from fpm.protocol.spec import TemplateSpec
from fpm.system.prctl import PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, PR_CAPBSET_DROP, load_capset, load_prctl

LAST_POSSIBLE = 63
VERSION_3 = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3: two words of 32 bits for each set."""


class Capabilities(NamedTuple):
    """What takes them away. Both raise OSError."""

    bound: Callable[[], None]
    """No program that is executed can give one any more. It needs CAP_SETPCAP, and does nothing without."""
    clear: Callable[[], None]
    """None are left, not even to inherit."""


def drops_capabilities(spec: TemplateSpec) -> bool:
    """Tell whether a pool is to have none: one of root's keeps them, and without no_new_privs programs may give them.

    Who makes a user namespace has all of them in it.
    """
    return spec.no_new_privs and spec.uid != 0 and (spec.uid is not None or "user" in spec.namespaces)


def load_capabilities() -> Capabilities:
    """Load the C library.

    Raises:
        ImportError: this Python has no ctypes.
    """
    prctl, capset = load_prctl(), load_capset()

    def bound() -> None:
        for number in range(LAST_POSSIBLE + 1):
            try:
                prctl(PR_CAPBSET_DROP, number)
            except OSError as error:
                # The kernel has no more of them; or this root has no CAP_SETPCAP, and no_new_privs must do.
                if error.errno in (errno.EINVAL, errno.EPERM):
                    break
                raise

    def clear() -> None:
        try:
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a kernel before 4.3 has no such set
                raise
        capset(struct.pack("=Ii", VERSION_3, 0), bytes(24))

    return Capabilities(bound, clear)
