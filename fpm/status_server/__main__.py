"""`python -m fpm.status_server [UID GID]`: what the master executes; it gives up its rights before anything else."""

from __future__ import annotations

import os
import resource
import socket
import sys
import time

from fpm.status_server import FD_CHANNEL
from fpm.status_server.history_file import FILE_MAX
from fpm.status_server.server import Server
from fpm.system.drop_rights import drop_rights
from fpm.system.proctitle import set_title


def main(arguments: list[str]) -> int:
    """Serve until the master is gone; returns the exit status."""
    set_title("pyfpm: status")  # while /proc/self is still ours
    time.tzset()  # reads /etc/localtime while it is within reach; the pages show local time
    if arguments:
        drop_rights(*map(int, arguments))
    # The master has opened the file of the history, which lies in memory as a rule, and lets us write in it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_MAX, FILE_MAX))
    os.set_inheritable(FD_CHANNEL, False)
    Server(socket.socket(fileno=FD_CHANNEL)).run()
    return 0


if __name__ == "__main__":
    # Threads may still be talking to clients; nobody waits for them.
    os._exit(main(sys.argv[1:]))
