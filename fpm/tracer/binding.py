"""What is used of python-ptrace: its binding of ptrace(2) and its tables, and the requests that it does not name.

Its debugger is not used: it attaches with PTRACE_ATTACH, which loses signals and leaves the process stopped if the
tracer dies too early. PTRACE_SEIZE does neither (ptrace(2), "Attaching and detaching").
"""

from __future__ import annotations

import ctypes
import os
import warnings

with warnings.catch_warnings():
    # Since 3.12 it uses what datetime is about to lose, in a module that is not needed here.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ptrace.binding.func import PTRACE_DETACH, ptrace, ptrace_getregs
    from ptrace.ctypes_libc import libc
    from ptrace.error import PtraceError
    from ptrace.syscall import SYSCALL_NAMES

from fpm.system.prctl import PR_SET_PDEATHSIG, load_prctl

PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
PTRACE_EVENT_STOP = 128
WAIT_ALL = 0x40000000
"""__WALL: also threads that are no leaders (wait(2))."""

SYS_PIDFD_GETFD = 438
"""On every machine (fpm.kernel.calls)."""

__all__ = ["SYSCALL_NAMES", "PtraceError", "copy_descriptor", "die_with_parent", "read_registers", "read_remotely"]


class _Piece(ctypes.Structure):
    """struct iovec"""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_process_vm_readv = libc.process_vm_readv
_process_vm_readv.argtypes = (
    ctypes.c_int,
    ctypes.POINTER(_Piece),
    ctypes.c_ulong,
    ctypes.POINTER(_Piece),
    ctypes.c_ulong,
    ctypes.c_ulong,
)
_process_vm_readv.restype = ctypes.c_ssize_t
_prctl = load_prctl()


def seize(tid: int) -> None:
    """Become the tracer of a thread, which runs on.

    Raises:
        PtraceError: its errno is EPERM (not allowed, already traced, or a zombie) or ESRCH (gone).
    """
    ptrace(PTRACE_SEIZE, tid, 0, 0)


def interrupt(tid: int) -> None:
    """Have a seized thread stop; waitpid tells when it has.

    Raises:
        PtraceError: ESRCH, it is gone.
    """
    ptrace(PTRACE_INTERRUPT, tid, 0, 0)


def detach(tid: int, signal: int) -> None:
    """Let a stopped thread go on, with a signal that it had been about to get (0: none).

    Raises:
        PtraceError: ESRCH, it is gone, or not stopped.
    """
    ptrace(PTRACE_DETACH, tid, 0, signal)


def read_registers(tid: int) -> dict[str, int]:
    """A stopped thread's registers by the kernel's names (struct user_regs_struct); x0 to x30 on aarch64.

    Raises:
        PtraceError: ESRCH, it is gone.
    """
    registers = ptrace_getregs(tid)
    return {_NAMES.get(name, name): getattr(registers, name) for name, _ in registers._fields_}


_NAMES = {f"r{number}": f"x{number}" for number in range(31)} if os.uname().machine == "aarch64" else {}


def read_remotely(pid: int, address: int, size: int) -> bytes:
    """Memory of another process by process_vm_readv(2), which needs no right to a file; none where there is none."""
    buffer = ctypes.create_string_buffer(size)
    here, there = _Piece(ctypes.addressof(buffer), size), _Piece(address, size)
    got = _process_vm_readv(pid, here, 1, there, 1, 0)
    return buffer.raw[:got] if got > 0 else b""


def copy_descriptor(pidfd: int, fd: int) -> int:
    """Copy a descriptor of another process by pidfd_getfd(2); -1 if that is refused, or this kernel cannot (5.6)."""
    result: int = libc.syscall(
        ctypes.c_long(SYS_PIDFD_GETFD), ctypes.c_long(pidfd), ctypes.c_long(fd), ctypes.c_long(0)
    )
    return result


def die_with_parent(signal: int) -> None:
    """Have the kernel send this process a signal when its parent ends (PR_SET_PDEATHSIG, prctl(2))."""
    _prctl(PR_SET_PDEATHSIG, signal)
