"""Functions of the interpreter as they are before the application is imported, which may put others in their places.

gevent replaces those of _thread, a debugger those of sys. The rest of the calibration is imported only in its child,
after the application, and takes them from here.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident, get_native_id, stack_size, start_new_thread
from collections.abc import Callable, Iterator
from gc import disable as disable_collector
from sys import _current_frames as current_frames
from sys import setprofile, setrecursionlimit, setswitchinterval, settrace
from typing import Any

from fpm.errors import CalibrationError, Unsupported

__all__ = [
    "allocate_lock",
    "current_frames",
    "disable_collector",
    "get_ident",
    "get_native_id",
    "setprofile",
    "setrecursionlimit",
    "setswitchinterval",
    "settrace",
    "stack_size",
    "start_new_thread",
]


PATIENCE = 2.0
"""Seconds for a thread to come to its place."""
STACK_SIZE = 512 << 10
"""Bytes; the usual 8 MiB may be more than a limit of the pool's lets three threads have."""
LOCALS = (
    ("nothing", "None"),
    ("flag", "True"),
    ("number", "-123456789012345678901234567890"),
    ("fraction", "0.1"),
    ("text", "'caf\xe9'"),
)
"""What _stand() has, and how it is shown."""


class Parked:
    """A thread that stands still at a known stack."""

    def __init__(self, depth: int) -> None:
        """`depth`: how often a function calls itself on the way."""
        self.depth = depth
        self.ident = 0
        self.native_id = 0
        self.ready = allocate_lock()
        self.go = allocate_lock()
        self.ready.acquire()
        self.go.acquire()

    def start(self) -> None:
        """Start the thread, and wait until it stands still.

        Raises:
            CalibrationError: no thread can be started, or it does not come there.
        """
        start_thread(_begin, self)
        if not self.ready.acquire(timeout=PATIENCE):
            raise CalibrationError(f"a thread of the calibration has not come to its place within {PATIENCE:g} s")


def start_thread(function: Callable[..., None], *arguments: Any) -> None:
    """Start a thread without anything of the threading module, which may be another by now.

    Raises:
        Unsupported: none can be started; the limits of the pool do not let another try do better.
    """
    try:
        stack_size(STACK_SIZE)
        start_new_thread(function, arguments)
    except (RuntimeError, ValueError) as error:
        raise Unsupported(
            f"no thread can be started for the calibration: {error} (limits of processes, of memory?)"
        ) from error


def _begin(parked: Parked) -> None:
    parked.ident = get_ident()
    parked.native_id = get_native_id()
    _again(parked, parked.depth)


def _again(parked: Parked, depth: int) -> None:
    if depth:
        _again(parked, depth - 1)
    else:
        list(map(_called_by_c, [parked]))


def _called_by_c(parked: Parked) -> None:
    for _ in _generator(parked):
        break


def _generator(parked: Parked) -> Iterator[None]:
    step = parked.depth
    step += 1
    _Class().method(parked)
    yield


class _Class:
    def method(self, parked: Parked) -> None:
        (lambda: _stand(parked, None, True))()


def _stand(parked: Parked, nothing: Any, flag: Any) -> None:
    number = -123456789012345678901234567890
    fraction = 0.1
    text = "caf\xe9"
    parked.ready.release()
    parked.go.acquire()
    parked.depth = hash((nothing, flag, number, fraction, text))


PLAIN_CALLS = frozenset({"_stand", "<lambda>", "method", "_again"})
"""Functions that Python has called from Python, by co_name; the first of the recursion included."""
CALLED_BY_C = "_called_by_c"
GENERATOR = "_generator"
STANDS_IN = "_stand"
STANDS_AT = _stand.__code__.co_firstlineno + 5
"""The line of the last acquire()."""
