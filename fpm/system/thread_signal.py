"""Signals the first thread of a process: any thread may take a signal for the whole process."""

from __future__ import annotations

import errno
import os
import signal

PIDFD_SIGNAL_THREAD = 1
"""pidfd_send_signal(2), since Linux 6.9."""
TGKILL = {"x86_64": 234, "aarch64": 131, "riscv64": 131, "ppc64le": 250, "s390x": 241}
"""Numbers of tgkill(2): not every C library has a function for it."""


def signal_first_thread(pid: int, pidfd: int, number: int) -> None:
    """Send a signal to the first thread of a process.

    Args:
        pidfd: of the same process, which must not have exited according to it.

    Raises:
        OSError: the process has exited, or may not be signalled.
    """
    try:
        signal.pidfd_send_signal(pidfd, number, None, PIDFD_SIGNAL_THREAD)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        tgkill(pid, number)


def tgkill(pid: int, number: int) -> None:
    """Signal a thread on older kernels, where the pid may be another process's if this one has exited meanwhile.

    Raises:
        OSError: there is no such process, or it may not be signalled.
    """
    import ctypes  # late: it costs memory, and only older kernels need it

    libc = ctypes.CDLL(None, use_errno=True)
    call = TGKILL.get(os.uname().machine)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if libc.syscall(ctypes.c_long(call), ctypes.c_long(pid), ctypes.c_long(pid), ctypes.c_long(number)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
