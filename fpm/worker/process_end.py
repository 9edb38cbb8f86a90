"""The last moments of a process that runs an application's code."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from typing import NoReturn


def finish_threads() -> None:
    """Wait for the application's non-daemon threads, as the interpreter does at its end; the master bounds the time."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()


def flush_standard_streams() -> None:
    """What print() has buffered goes out."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # the pipe's reader is gone, or the application has closed the stream
            continue


def leave_copy(error: BaseException | None) -> NoReturn:
    """End a process that the application has forked and that has come back from its code, as Python ends a program.

    It must not go on as a second worker. What is registered with atexit belongs to the worker and is not called.

    Args:
        error: what has brought it back, if it was not a return.
    """
    code = 0
    if isinstance(error, SystemExit):
        if error.code is not None and not isinstance(error.code, int):
            sys.stderr.write(f"{error.code}\n")
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        traceback.print_exception(error)
        code = 1
    finish_threads()
    flush_standard_streams()
    os._exit(code & 0xFF)
