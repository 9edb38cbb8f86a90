"""A signal for the first thread of a process: one for the process may be taken by any of its threads."""

from __future__ import annotations

import errno
import os
import signal

PIDFD_SIGNAL_THREAD = 1
"""pidfd_send_signal(2), since Linux 6.9."""
TGKILL = {"x86_64": 234, "aarch64": 131, "riscv64": 131, "ppc64le": 250, "s390x": 241}
"""Numbers of tgkill(2): not every C library has a function for it."""


def signal_first_thread(pid: int, pidfd: int, number: int) -> None:
    """Send it.

    Args:
        pidfd: of the same process; it must not have ended as far as this descriptor tells.

    Raises:
        OSError: the process has ended, or it may not be signalled.
    """
    try:
        signal.pidfd_send_signal(pidfd, number, None, PIDFD_SIGNAL_THREAD)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        tgkill(pid, number)


def tgkill(pid: int, number: int) -> None:
    """The same on older kernels, where the process may have ended and its pid be another's since it was looked at.

    Raises:
        OSError: there is no such process, or it may not be signalled.
    """
    import ctypes  # late: the master has no other use for it

    libc = ctypes.CDLL(None, use_errno=True)
    call = TGKILL.get(os.uname().machine)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if libc.syscall(ctypes.c_long(call), ctypes.c_long(pid), ctypes.c_long(pid), ctypes.c_long(number)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
