"""Does what the application's import left behind survive fork(2)? Threads and connections do not."""

from __future__ import annotations

import os
import select
import socket
import stat
import sys
import threading

from fpm.protocol.spec import FD_FIRST_FREE

UNSAFE_MODULES = {
    "grpc": "gRPC's core does not survive fork",
    "confluent_kafka": "librdkafka's threads do not survive fork",
    "ray": "ray's connections and threads do not survive fork",
}
"""Libraries that start threads or hold locks in C when they are first used or imported."""

DESCRIPTORS_LOOKED_AT = 1024
ENDING_LOOKS = 20
ENDING_PAUSE = 10
"""Milliseconds between looks at threads that may be ending."""


def survey() -> list[str]:
    """What makes preloading unsafe, a phrase for each; empty if nothing was found."""
    found = []
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    native = _settled_native_threads(1 + len(threads)) - 1 - len(threads)
    if threads:
        found.append(f"{len(threads)} thread(s) alive after the import ({', '.join(threads[:3])})")
    elif native > 0:
        found.append(f"{native} native thread(s) alive after the import")
    connected = [peer for peer in map(_connected_to, range(FD_FIRST_FREE, DESCRIPTORS_LOOKED_AT)) if peer]
    if connected:
        found.append(f"connected socket(s) to {', '.join(connected[:3])}")
    found.extend(reason for module, reason in UNSAFE_MODULES.items() if module in sys.modules)
    return found


def _settled_native_threads(expected: int) -> int:
    """How many there are, after those that are just ending (our own watchdog of the import, for one) have had time to.

    Linux shows a thread a little longer than it runs Python's or C's code.
    """
    pause = select.poll()
    for _ in range(ENDING_LOOKS):
        if _native_threads() <= expected:
            break
        pause.poll(ENDING_PAUSE)
    return _native_threads()


def _native_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:  # no /proc in the jail: only Python's own threads are known
        return threading.active_count()


def _connected_to(fd: int) -> str | None:
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return None
        with socket.socket(fileno=os.dup(fd)) as connection:
            if connection.type == socket.SOCK_DGRAM:
                return None  # syslog and the like: a datagram socket may be shared
            # A socket pair, such as the one in every event loop of asyncio, has no name.
            return str(connection.getpeername() or "a socket pair")
    except OSError:  # not open, or not connected
        return None
