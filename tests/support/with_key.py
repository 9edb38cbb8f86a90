"""Executes a command with a key in its session keyring, as an administrator's session has them:
`python with_key.py NAME COMMAND ...`."""

from __future__ import annotations

import ctypes
import os
import sys

from fpm.system.keyring import KEYCTL, KEYCTL_JOIN_SESSION_KEYRING

ADD_KEY = {"x86_64": 248, "aarch64": 217}
SESSION = -3
"""KEY_SPEC_SESSION_KEYRING, keyctl(2)."""


def main(name: str, command: list[str]) -> None:
    """Never comes back."""
    libc = ctypes.CDLL(None, use_errno=True)
    machine = os.uname().machine
    secret = ctypes.c_char_p(b"secret")
    for call in (
        (KEYCTL[machine], KEYCTL_JOIN_SESSION_KEYRING, None),
        (ADD_KEY[machine], ctypes.c_char_p(b"user"), ctypes.c_char_p(name.encode()), secret, 6, SESSION),
    ):
        if libc.syscall(*call) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
