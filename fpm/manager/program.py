"""The master process of a manager in a program. fpm.manager.child executes it: DIRECTORY PROGRAM CHANNEL [NAME...]

Its working directory is the program's. Listening sockets are at 3, 4 and so on, one for each pool NAME. It reports on
the descriptor CHANNEL when it is ready, and reads end of file there when the program closes it. Events
(fpm.events.wire) go to the descriptor after CHANNEL. A process that the program has forked may hold CHANNEL as well, so
the exit of PROGRAM (its pid) is watched, too.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from fpm.config.from_code import load_values
from fpm.config.model import Config
from fpm.errors import EXIT_FAILED, FpmError
from fpm.log.error import ErrorLog
from fpm.manager.configuration import FILE, unpack_values
from fpm.master.core import EventWriter
from fpm.master.master import Master
from fpm.master.setup import Setup
from fpm.system.systemd import LISTEN_FDS_START


def main(arguments: list[str]) -> int:
    """Run the master; return the exit status."""
    directory, program, channel, *names = arguments
    channel_fd = int(channel)
    for fd in (channel_fd, channel_fd + 1):
        os.set_inheritable(fd, False)
    environ = _environ(names)
    try:
        parent = os.pidfd_open(os.getppid())
        if os.getppid() != int(program):
            return EXIT_FAILED  # it has exited already, and another process is our parent
        with _ends_of(parent, channel_fd) as ends:
            return _run(Path(directory), channel_fd, ends.fileno(), environ)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _ends_of(parent: int, channel: int) -> select.epoll:
    """Create a descriptor that is readable when the parent has exited or closed `channel` (epoll(7), pidfd_open(2))."""
    ends = select.epoll()
    ends.register(channel, select.EPOLLIN)
    ends.register(parent, select.EPOLLIN)
    return ends


def _run(directory: Path, channel_fd: int, ends: int, environ: Mapping[str, str]) -> int:
    channel = socket.socket(fileno=channel_fd)

    def load() -> Config:
        return load_values(unpack_values((directory / FILE).read_bytes()), environ)

    def tell(failed: list[str]) -> None:
        message = json.dumps({"ready": True, "failed": failed}).encode()
        channel.send(message, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)

    try:
        config = load()
        log = ErrorLog(None, level=config.global_.log_level, limit=config.global_.log_limit)
        setup = Setup(environ=environ, load=load, on_ready=tell, parent_fd=ends, events=EventWriter(channel_fd + 1))
        return Master(config, log, setup).run()
    except FpmError as error:
        message = json.dumps({"ready": False, "error": str(error)}).encode()
        channel.send(message, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
        return error.exit_status


def _environ(names: list[str]) -> dict[str, str]:
    """Return the program's environment, with the sockets as systemd would pass them (sd_listen_fds(3)).

    The program's service manager is removed: the master must not notify it.
    """
    managers = ("LISTEN_", "NOTIFY_", "WATCHDOG_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(managers)}
    if names:
        environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names)}
        assert LISTEN_FDS_START == 3
    return environ


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
