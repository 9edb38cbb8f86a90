"""Functions of the interpreter as they are before the application is imported, which may put others in their places.

gevent replaces those of _thread, a debugger those of sys. The rest of the calibration is imported only in its child,
after the application, and takes them from here.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident, get_native_id, stack_size, start_new_thread
from gc import disable as disable_collector
from sys import _current_frames as current_frames
from sys import setprofile, setrecursionlimit, setswitchinterval, settrace

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
