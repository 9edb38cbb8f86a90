"""Executes a command with a key in its session keyring, as an administrator's session has them:
`python with_key.py NAME COMMAND ...`."""

from __future__ import annotations

import os
import sys

from fpm.kernel.system_call import load_system_call
from fpm.system.keyring import KEYCTL_JOIN_SESSION_KEYRING

SESSION = -3
"""KEY_SPEC_SESSION_KEYRING, keyctl(2)."""
REFUSED = 77
"""Exit status: this machine has no keys."""


def main(name: str, command: list[str]) -> None:
    """Never comes back."""
    call = load_system_call()
    secret = b"secret"
    try:
        call("keyctl", KEYCTL_JOIN_SESSION_KEYRING, 0)
        call("add_key", b"user", name.encode(), secret, len(secret), SESSION)
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(REFUSED)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
