"""The master's process of a manager in a program. Its arguments are DIRECTORY PROGRAM LEASH [NAME...], see
fpm.manager.child.

It stands in the program's working directory. Listening sockets are at 3, 4 and so on, one for each NAME of a pool; on
the leash it says when it is ready, and reads end of file when the program has let go of it. Events (fpm.events.wire) go
to the descriptor after the leash. A process that the program
has forked may hold the leash, too, so the end of PROGRAM (its pid) is looked for beside it.
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

from fpm.config.from_code import load_given
from fpm.config.model import Config
from fpm.errors import EXIT_FAILED, FpmError
from fpm.log.error import ErrorLog
from fpm.manager.configuration import FILE, unpack_given
from fpm.master.core import EventWriter
from fpm.master.master import Master
from fpm.master.setup import Setup
from fpm.system.systemd import LISTEN_FDS_START


def main(arguments: list[str]) -> int:
    """Run the master to its end; returns the exit status."""
    directory, program, leash, *names = arguments
    leash_fd = int(leash)
    for fd in (leash_fd, leash_fd + 1):
        os.set_inheritable(fd, False)
    environ = _environ(names)
    try:
        parent = os.pidfd_open(os.getppid())
        if os.getppid() != int(program):
            return EXIT_FAILED  # it has ended already, and somebody else has become our parent
        with _ends_of(parent, leash_fd) as ends:
            return _run(Path(directory), leash_fd, ends.fileno(), environ)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _ends_of(parent: int, leash: int) -> select.epoll:
    """A descriptor that is readable when the parent is gone or has let go of the leash (epoll(7), pidfd_open(2))."""
    ends = select.epoll()
    ends.register(leash, select.EPOLLIN)
    ends.register(parent, select.EPOLLIN)
    return ends


def _run(directory: Path, leash_fd: int, ends: int, environ: Mapping[str, str]) -> int:
    leash = socket.socket(fileno=leash_fd)

    def load() -> Config:
        return load_given(unpack_given((directory / FILE).read_bytes()), environ)

    def tell(failed: list[str]) -> None:
        message = json.dumps({"ready": True, "failed": failed}).encode()
        leash.send(message, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)

    try:
        config = load()
        log = ErrorLog(None, level=config.global_.log_level, limit=config.global_.log_limit)
        setup = Setup(environ=environ, load=load, on_ready=tell, leash=ends, events=EventWriter(leash_fd + 1))
        return Master(config, log, setup).run()
    except FpmError as error:
        message = json.dumps({"ready": False, "error": str(error)}).encode()
        leash.send(message, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
        return error.exit_status


def _environ(names: list[str]) -> dict[str, str]:
    """The program's environment, and the sockets as systemd would pass them (sd_listen_fds(3)).

    A service manager of the program is not the master's to talk to.
    """
    managers = ("LISTEN_", "NOTIFY_", "WATCHDOG_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(managers)}
    if names:
        environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names)}
        assert LISTEN_FDS_START == 3
    return environ


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
