"""The end of a process that runs an application's code, as the interpreter itself ends one.

What was registered before the fork belongs to the template, and runs once, when that ends; what was registered in a
worker runs in that worker.
"""

from __future__ import annotations

import atexit
import os
import select
import sys
import threading
import time
import traceback
import weakref
from _thread import start_new_thread
from typing import Any, NoReturn

from fpm.protocol.wire import MESSAGE_MAX
from fpm.worker.stdio import write_error

WITHOUT_MASTER = 3.0
"""Seconds for the end of a process whose master is gone: nobody else bounds it."""


def leave_handlers_to_parent() -> None:
    """In a process that has just been forked: have the handlers registered so far run in its parent alone."""
    atexit._clear()
    registry: Any = weakref.finalize
    for finalizer in list(registry._registry):
        finalizer.atexit = False
    registry._registered_with_atexit = False
    # What the standard library does at the end of each process that uses it. The first one registered runs last.
    if logging := sys.modules.get("logging"):
        atexit.register(logging.shutdown)
    if util := sys.modules.get("multiprocessing.util"):
        atexit.register(util._exit_function)
    if process := sys.modules.get("multiprocessing.process"):
        process._children.clear()  # they are the parent's, which joins or terminates them


def run_end(channel: int, code: int, limit: float | None = None) -> NoReturn:
    """Wait for threads and executors, run the registered handlers, in the interpreter's order (Py_FinalizeEx), and end.

    Args:
        channel: to the master. When that is gone, the process has WITHOUT_MASTER seconds left.
        code: the exit code.
        limit: seconds for all of it; None: the master sees to that.
    """
    try:
        start_new_thread(_watch, (channel, code, limit))
    except RuntimeError as error:  # no threads left (RLIMIT_NPROC); a signal of the master still ends it
        write_error(f"nobody watches the end of this process: {error}\n")
    finish_threads()
    run_handlers()
    flush_streams()
    os._exit(code)


def run_handlers() -> None:
    """Call what is registered with atexit, and forget it."""
    atexit._run_exitfuncs()


def _watch(channel: int, code: int, limit: float | None) -> None:
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    end = None if limit is None else time.monotonic() + limit
    while (left := None if end is None else end - time.monotonic()) is None or left > 0:
        if poll.poll(None if left is None else left * 1000) and not _read(channel):
            select.poll().poll(WITHOUT_MASTER * 1000)
            break
    os._exit(code)


def _read(channel: int) -> bool:
    """Take a message, which comes too late; False if the master is gone."""
    try:
        return bool(os.read(channel, MESSAGE_MAX))
    except BlockingIOError:
        return True
    except OSError:
        return False


def finish_threads() -> None:
    """Have executors let go of their threads, and wait for all threads that are no daemons."""
    shutdown: Any = vars(threading)["_shutdown"]  # gevent has its own, which its threads need
    try:
        shutdown()
    except BaseException:  # of the application, as anything that ends threads may be
        write_error(traceback.format_exc())


def flush_streams() -> None:
    """Send out what print() has buffered."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # whatever the application has put there, or closed, it cannot be flushed
            continue


def leave_unused(number: int, frame: object) -> NoReturn:
    """Handle a signal that tells a worker to leave before it has begun to serve; nothing is lost by it."""
    flush_streams()
    os._exit(0)
