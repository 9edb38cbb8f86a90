"""The program of a stand-alone worker: puts the descriptors where fpm.protocol.spec wants them, then run_worker()."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys

from fpm.library import run_postfork
from fpm.protocol import spec
from fpm.template.application import load_application
from fpm.worker.last_word import LastWords
from fpm.worker.worker import run_worker

PLACES = {
    "scoreboard": spec.FD_SCOREBOARD,
    "wake": spec.FD_WAKE,
    "park_take": spec.FD_PARK_TAKE,
    "park_put": spec.FD_PARK_PUT,
    "listen": spec.FD_LISTEN,
}


def place_descriptors(given: dict[str, int]) -> dict[str, int]:
    """Moves the given descriptors to their fixed numbers; returns those that may be anywhere."""
    high = {name: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for name, fd in given.items()}
    for fd in given.values():
        os.close(fd)
    for name, place in PLACES.items():
        os.dup2(high.pop(name), place, inheritable=False)
    return high


def main() -> None:
    """Reads the description from the command line."""
    description = json.loads(sys.argv[1])
    sys.path.insert(0, description["apps"])
    rest = place_descriptors(description["descriptors"])
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=rest["channel"])
    settings = spec.WorkerSettings(**description["settings"])
    application = load_application(settings.app)
    run_postfork()
    words = LastWords()
    words.begin_fork()
    code = run_worker(
        settings,
        application,
        slot=description["slot"],
        channel=channel,
        access_log=rest.get("access_log"),
        last_word=words.take_pair(),
    )
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
