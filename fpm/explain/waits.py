"""What a thread waits for, or where it computes, read out of the phrase of fpm.tracer.syscall_text. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from fpm.explain.facts import Place, Sight, Thread
from fpm.frozen import dataclass

COMPUTING, LOCK, SQLITE, INTERPRETER, NETWORK, CHILD, FILE, ASLEEP, KERNEL, UNKNOWN = (
    "computing",
    "lock",
    "sqlite-lock",
    "interpreter-lock",
    "waiting",
    "child",
    "file",
    "asleep",
    "kernel",
    "busy",
)
"""Kinds of waits, which are kinds of findings too."""
_CALL = re.compile(r"in (\w+)\((.*)\)", re.DOTALL)
_DESCRIPTOR = re.compile(r"\d+ <(.*?)>")
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:%.\w]+\]|\d+\.\d+\.\d+\.\d+):\d+|unix:.+", re.DOTALL)
_SENDING = frozenset({"write", "writev", "sendto", "sendmsg", "sendmmsg", "sendfile"})
_CHILDREN = frozenset({"wait4", "waitid", "waitpid"})
_OPENING = frozenset({"open", "openat", "openat2"})
_SLEEPING = frozenset({"clock_nanosleep", "nanosleep"})
_SQLITE = re.compile(r"(?:lib|_)?(?:py)?sqlite3")
"""A C function of SQLite or of Python's module for it, or the library that a function without a name is in."""
_EVENT_LOOPS = frozenset({"epoll_wait", "epoll_pwait", "epoll_pwait2"})
_FILE_LOCKS = frozenset({"flock", "fcntl"})
_FOR_GIL = frozenset({"take_gil", "PyEval_RestoreThread", "PyEval_AcquireThread", "pthread_cond_timedwait"})
"""C functions in which a thread waits for the interpreter's lock, not for one of the application: those are
semaphores, which have no condition variable (Python/thread_pthread.h)."""
_LOCKING = re.compile(r"PyThread_acquire_lock|PyMutex|rlock_acquire|acquire_timed")
_EVALUATOR = re.compile(
    r"_?PyEval_|_PyFunction_Vectorcall|_PyObject_|PyObject_|_Py_|method_vectorcall|vectorcall_|cfunction_"
)
"""C functions of the interpreter that say nothing about what is computed."""
_SYNCHRONIZING = {
    "threading.Thread.join": "waiting for the end of a thread",
    "threading.Event.wait": "waiting for an event of another thread",
    "threading.Barrier.wait": "waiting for the other threads of a barrier",
    "threading.Semaphore.acquire": "waiting for a semaphore",
    "threading.Condition.wait": "waiting to be notified by another thread",
    "queue.Queue.get": "waiting for an item of a queue",
    "queue.Queue.put": "waiting for room in a queue",
    "queue.Queue.join": "waiting for the items of a queue to be done",
    "concurrent.Future.result": "waiting for the result of a thread or process (Future.result)",
    "concurrent.wait": "waiting for the results of threads or processes",
    "multiprocessing.ApplyResult.get": "waiting for the result of a process of its pool",
}
"""Calls of the standard library by which a thread waits for another one."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What something waits for."""

    kind: str
    words: str
    """As in "waiting for 10.0.0.5:5432"; "" if it is not known."""
    target: str = ""
    """An address or a file, if there is one."""
    detail: str = ""
    """What is of this worker alone, after the words, as in "(process 812)": others at the same place have another."""

    @property
    def whole(self) -> str:
        """Return all that is known of this worker's wait."""
        return " ".join(filter(None, (self.words, self.detail)))


def wait_of(sight: Sight) -> Wait:
    """Say what a worker's main thread waits for."""
    doing = sight.doing
    if doing == "running":
        return Wait(COMPUTING, "computing", detail=_in_c(sight))
    if doing == "waiting for a lock":
        return _lock(sight)
    if doing == "sleeping":
        return Wait(UNKNOWN, "waiting (for what is not known without ptrace)")
    if doing.startswith("in uninterruptible sleep"):
        return Wait(KERNEL, f"in the kernel, {doing.removeprefix('in ')}")
    if is_in_sqlite(sight):
        words = "waiting for the lock of SQLite's database" if sight.database else "waiting for the lock of SQLite"
        return Wait(SQLITE, f"{words} {sight.database}".rstrip(), sight.database)
    found = _CALL.fullmatch(doing)
    if found is None:
        return Wait(UNKNOWN, "")
    return _call(found[1], found[2])


def is_in_sqlite(sight: Sight) -> bool:
    """Tell whether SQLite sleeps before it tries a lock again, as it does for up to the timeout of its connection."""
    found = _CALL.fullmatch(sight.doing)
    return found is not None and found[1] in _SLEEPING and any(map(_SQLITE.match, sight.native))


def _call(name: str, arguments: str) -> Wait:
    target = arguments if arguments.startswith("/") else _target(arguments)
    if name in _SLEEPING:
        return Wait(ASLEEP, "asleep")
    if name in _CHILDREN:
        return Wait(CHILD, "waiting for a child process", detail=f"(process {arguments})" if arguments else "")
    if _ADDRESS.fullmatch(target):
        verb = "connecting to" if name == "connect" else "sending to" if name in _SENDING else "waiting for"
        return Wait(NETWORK, f"{verb} {target}", target)
    if target.startswith("pipe:["):
        return Wait(CHILD, f"waiting for {'room in' if name in _SENDING else 'data from'} a pipe")
    if target.startswith("/"):
        if name in _FILE_LOCKS:
            return Wait(LOCK, f"waiting for the lock on {target}", target)
        return Wait(FILE, f"opening {target}" if name in _OPENING else f"in {name}() on {target}", target)
    if target.startswith("socket:["):
        if name in _EVENT_LOOPS:  # one that only wakes it up
            return Wait(UNKNOWN, "in its event loop, waiting for no connection")
        return Wait(NETWORK, f"waiting in {name}() for a socket", target)
    return Wait(UNKNOWN, f"in {name}()")


def _target(arguments: str) -> str:
    """Return what the call is about: of several descriptors, as in an event loop, the first with an address."""
    found: list[str] = _DESCRIPTOR.findall(arguments)
    return next(filter(_ADDRESS.fullmatch, found), found[0] if found else "")


def _lock(sight: Sight) -> Wait:
    # The newest counts: who has got a lock may wait for the interpreter on the way back.
    for name in sight.native:
        if name in _FOR_GIL:
            return Wait(INTERPRETER, "waiting for the interpreter's lock (GIL)")
        if _LOCKING.search(name):
            break
    return Wait(LOCK, next(filter(None, map(_synchronized, reversed(_called(sight)))), "waiting for a lock"))


def _called(sight: Sight) -> Sequence[Place]:
    """Return the calls of libraries that the application's newest one has led to."""
    return list(takewhile(lambda place: place.library, sight.places))


def _synchronized(place: Place) -> str:
    return _SYNCHRONIZING.get(f"{place.library}.{place.function}", "")


def _in_c(sight: Sight) -> str:
    if not sight.native or _EVALUATOR.match(sight.native[0]):
        return ""
    newest = sight.places[0] if sight.places else None
    called = f" called by {newest.library}.{newest.function}" if newest is not None and newest.library else ""
    return f"in C code{called}"


def holder_of(sight: Sight) -> Thread | None:
    """Return the other thread that most probably keeps a worker waiting: one that computes, else one that waits itself.

    A thread that waits for a lock as well holds up nobody for sure, so it comes last.
    """
    threads = [one for one in sight.others if any(not place.library for place in one.places)]
    order = {"running": 0, "waiting for a lock": 2}
    return min(threads, key=lambda one: order.get(one.doing, 1), default=None)
