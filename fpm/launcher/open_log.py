"""`python -m fpm.launcher.open_log UID GID GROUPS PATH`: opens a log of a pool as the pool's user.

The master runs it where root must open nothing, because the directory belongs to the pool's user (fpm.paths.place).
The descriptor goes to the master over the socket at descriptor 0. If the log cannot be opened, the exit status is 1 and
the reason is on standard output. The process never executes anything after its change of user, so it is not dumpable:
no process of that user can take hold of it (PR_SET_DUMPABLE, prctl(2)).
"""

from __future__ import annotations

import os
import socket
import sys

from fpm.launcher.identity import change_user
from fpm.paths.files import open_to_append


def main(arguments: list[str]) -> int:
    """Become the user and open the log; return the exit status."""
    uid, gid, groups, path = arguments
    try:
        change_user(int(uid), int(gid), [int(group) for group in groups.split(",")])
        fd = open_to_append(path)
    except OSError as error:
        sys.stdout.write(f"{error.strerror} ({error.errno})\n")
        return 1
    with socket.socket(fileno=os.dup(0)) as channel:
        socket.send_fds(channel, [b"log"], [fd])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
