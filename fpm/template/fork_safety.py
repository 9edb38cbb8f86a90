"""Does what the application's import left behind survive fork(2)? Threads and connections do not.

Other things do survive, but are not what their author expects: random generators, ports.
"""

from __future__ import annotations

import gc
import os
import random
import select
import socket
import stat
import sys
import threading

from fpm.protocol.spec import FD_FIRST_FREE
from fpm.system.descriptors import no_default_timeout

UNSAFE_MODULES = {
    "grpc": "gRPC's core does not survive fork",
    "confluent_kafka": "librdkafka's threads do not survive fork",
    "ray": "ray's connections and threads do not survive fork",
}
"""Libraries that start threads or hold locks in C when they are first used or imported."""

BIND_ELSEWHERE = (
    "Bind it with SO_REUSEPORT, in a process of its own, or in a function registered with fpm.postfork, which each "
    "worker runs"
)
DESCRIPTORS_LOOKED_AT = 1024
ENDING_LOOKS = 20
ENDING_PAUSE = 10
"""Milliseconds between looks at threads that may be ending."""


def survey(what: str = "the import") -> list[str]:
    """What makes preloading unsafe after `what`, a phrase for each; empty if nothing was found."""
    found = []
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    native = _settled_native_threads(1 + len(threads)) - 1 - len(threads)
    if threads:
        found.append(f"{len(threads)} thread(s) alive after {what} ({', '.join(threads[:3])})")
    elif native > 0:
        found.append(f"{native} native thread(s) alive after {what}")
    connected = [peer for peer in map(_connected_to, range(FD_FIRST_FREE, DESCRIPTORS_LOOKED_AT)) if peer]
    if connected:
        found.append(f"connected socket(s) to {', '.join(connected[:3])}")
    if executors := _count_executors():
        found.append(f"{executors} ProcessPoolExecutor(s) made, whose pipes all workers would share")
    found.extend(reason for module, reason in UNSAFE_MODULES.items() if module in sys.modules)
    return found


def _count_executors() -> int:
    module = sys.modules.get("concurrent.futures.process")
    kind = getattr(module, "ProcessPoolExecutor", None)
    return sum(type(one) is kind for one in gc.get_objects()) if kind else 0


def survey_ports() -> str:
    """What listens since the import, and what to do; "" if nothing does."""
    listening = sorted(filter(None, map(_listening_at, range(FD_FIRST_FREE, DESCRIPTORS_LOOKED_AT))))
    if not listening:
        return ""
    return (
        f"the application listens on {', '.join(listening[:3])} since its import. A reload imports it again while this "
        f"generation serves: it will find the address in use, and be refused. {BIND_ELSEWHERE}"
    )


def survey_generators() -> str:
    """Which random generators will repeat themselves in the workers, and what to do; "" if there are none."""
    if not (generators := _generators()):
        return ""
    return (
        f"random generators made at import ({', '.join(generators[:3])}) give every worker the same numbers: make or "
        "seed them in a function registered with fpm.postfork"
    )


def _listening_at(fd: int) -> str | None:
    """The address of a socket of the application's to which a second one cannot be bound."""
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return None
        with no_default_timeout():
            listener = socket.socket(fileno=os.dup(fd))
        with listener:
            is_listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listener.family == socket.AF_UNIX or not is_listening:
                return None  # the file of a Unix socket is removed by whoever binds it again
            if listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
                return None
            host, port = listener.getsockname()[:2]
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    except (OSError, ValueError):  # not open; a family without addresses of this form
        return None


def _generators() -> list[str]:
    """Random generators with a state of their own, by their names in the modules of the application.

    The functions of `random` itself are seeded anew after a fork; numpy's are not, but their generator is always there.
    """
    kinds = [random.Random]
    if numpy := sys.modules.get("numpy.random"):
        kinds += [getattr(numpy, name) for name in ("Generator", "RandomState") if hasattr(numpy, name)]
    # These three look after forks themselves, or are there in every process.
    names_of_files = getattr(sys.modules.get("tempfile"), "_name_sequence", None)
    owners = ((random, "_inst"), (names_of_files, "_rng"), (getattr(numpy, "mtrand", None), "_rand"))
    excepted = {id(getattr(owner, name, None)) for owner, name in owners}
    found = {}
    for one in gc.get_objects():
        kind = type(one)  # not isinstance(): objects may lie about their class, and do work when asked
        if any(issubclass(kind, known) for known in kinds) and not issubclass(kind, random.SystemRandom):
            found[id(one)] = kind.__name__
    names = {number: f"a {name}" for number, name in found.items() if number not in excepted}
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if id(value) in names:
                names[id(value)] = f"{module.__name__}.{name}"
    return sorted(name for name in names.values() if not name.startswith(("tempfile.", "random.", "numpy.")))


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
        with no_default_timeout():
            connection = socket.socket(fileno=os.dup(fd))
        with connection:
            if connection.type == socket.SOCK_DGRAM:
                return None  # syslog and the like: a datagram socket may be shared
            # A socket pair, such as the one in every event loop of asyncio, has no name.
            return str(connection.getpeername() or "a socket pair")
    except OSError:  # not open, or not connected
        return None
