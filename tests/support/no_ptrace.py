"""Executes a command under a seccomp filter that forbids ptrace(2), and maybe process_vm_readv(2), as containers do:
`python no_ptrace.py ptrace|both COMMAND ...`."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
RET_ALLOW = 0x7FFF0000
RET_ERRNO = 0x00050000
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
FORBIDDEN = {"x86_64": (101, 310), "aarch64": (117, 270)}


class Program(ctypes.Structure):
    """struct sock_fprog, seccomp(2)."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def main(forbidden: str, command: list[str]) -> None:
    """Never comes back."""
    numbers = FORBIDDEN[platform.machine()][: 1 if forbidden == "ptrace" else 2]
    rules = [(LOAD, 0, 0, 0)]
    rules += [(JUMP_EQUAL, len(numbers) - index, 0, number) for index, number in enumerate(numbers)]
    rules += [(RETURN, 0, 0, RET_ALLOW), (RETURN, 0, 0, RET_ERRNO | errno.EPERM)]
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(rules), b"".join(struct.pack("HBBI", *rule) for rule in rules))
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program))):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
