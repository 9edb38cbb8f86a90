"""From a specification to its application, within startup_timeout, in the template or in a worker of its own.

What follows is called by `then` and does not come back: a script (`app = script:PATH`) hands its application over in
the middle of its own run, and the workers must be forked from there, where everything that it has made is alive.
"""

from __future__ import annotations

import errno
import faulthandler
import importlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from fpm.errors import EXIT_SOFTWARE
from fpm.protocol.messages import Failed, pack
from fpm.protocol.spec import TemplateSpec
from fpm.template.application import ApplicationError, load_application
from fpm.template.child_library import offer_library
from fpm.template.fork_safety import BIND_ELSEWHERE
from fpm.template.own_children import end_children, own_children
from fpm.template.process_settings import StandardDescriptors, settle_process
from fpm.template.script import is_script, run_script
from fpm.worker.process_end import flush_streams, run_end
from fpm.worker.stdio import replace_standard_streams, write_error

WSGIApplication = Callable[..., Any]
Then = Callable[[WSGIApplication], NoReturn]

STACK_AT = 0.9
"""The part of startup_timeout after which an import that still goes on shows its stack."""
SOONEST = 0.01
FAILED_LIMIT = 1.0
"""Seconds for threads and handlers of an import that has failed: what comes next waits for them."""


def prepare_interpreter(spec: TemplateSpec) -> None:
    """sys.path and sys.argv as the application expects them: the working directory, the pool's pythonpath, the rest.

    A script finds its own directory first instead of the working directory, see fpm.template.script.
    """
    sys.argv = [spec.python]
    first = [] if is_script(spec.app) else [os.getcwd()]
    for directory in reversed([*first, *spec.pythonpath]):
        if directory not in sys.path:
            sys.path.insert(0, directory)
    offer_library()
    if not faulthandler.is_enabled():
        # A crash (SIGSEGV, SIGABRT, SIGBUS, SIGFPE) shows where Python was, here and in the workers, which inherit it.
        faulthandler.enable(file=2)
    # SIGINT from a terminal is the master's business; what is left of it ends the process as in PHP-FPM.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def import_within(spec: TemplateSpec, channel: socket.socket, begun: float, then: Then) -> NoReturn:
    """Import the application and go on; shortly before the master loses patience, write the stack to standard error.

    If the import fails in any way, the master is told and the process ends.

    Args:
        begun: monotonic seconds from which the master counts.
        then: what comes next; it ends the process.
    """
    replace_standard_streams()
    descriptors = StandardDescriptors()
    watch(spec, begun)

    def go_on(application: WSGIApplication) -> NoReturn:
        faulthandler.cancel_dump_traceback_later()
        settle_process(descriptors, spec.umask)
        try:
            then(application)
        except BaseException:  # nothing may unwind into a script, which could catch it
            write_error(traceback.format_exc())
        finally:
            flush_streams()
            os._exit(EXIT_SOFTWARE)

    go_on(_import_or_leave(spec, channel, go_on))


def watch(spec: TemplateSpec, begun: float) -> None:
    """Have the stack shown shortly before the master loses patience.

    The watchdog is a thread of C: it works also while the import holds the GIL. It must be ended before the first fork.
    """
    if spec.startup_timeout > 0:
        left = begun + spec.startup_timeout * STACK_AT - time.monotonic()
        try:
            faulthandler.dump_traceback_later(max(left, SOONEST), file=2)
        except RuntimeError as error:  # no thread is left (RLIMIT_NPROC); the import itself may need none
            write_error(f"nobody watches the import: {error} (rlimit_processes)\n")


def _import_or_leave(spec: TemplateSpec, channel: socket.socket, go_on: Then) -> WSGIApplication:
    pid = os.getpid()
    try:
        if is_script(spec.app):
            run_script(spec.app, go_on)
        application = load_application(spec.app)
    except BaseException as error:  # SystemExit too: a module may end the interpreter while it is imported
        if os.getpid() == pid:
            report_import_failure(channel, error)
            end_imported(channel, EXIT_SOFTWARE, FAILED_LIMIT)
        flush_streams()
        os._exit(EXIT_SOFTWARE)
    if os.getpid() != pid:
        # The module has called fork(2) and this is its child, which must not be a second template or worker.
        flush_streams()
        os._exit(0)
    return application


def end_imported(channel: socket.socket, code: int, limit: float) -> NoReturn:
    """End this process with what the import has begun: the processes that it has started, its threads, its handlers."""
    end_children(own_children())
    run_end(channel.fileno(), code, limit)


def report_import_failure(channel: socket.socket, error: BaseException) -> None:
    """Tell the master why, with the traceback from the application's first line on."""
    frames = error.__traceback__
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames))
    if isinstance(error, SystemExit):
        summary = f"the application called sys.exit({error.code!r}) while it was imported"
    elif isinstance(error, ApplicationError):
        summary = str(error)
        if frames is None and error.__cause__ is None:
            text = ""  # only the same sentence again
    else:
        summary = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1] + _explain_address(error)
    channel.send(pack(Failed("import", summary, text)))


def _explain_address(error: BaseException) -> str:
    """Which address is in use, and what to do."""
    cause: BaseException | None = error
    while cause is not None and getattr(cause, "errno", None) != errno.EADDRINUSE:
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return ""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)]
    frame = next((one for one in reversed(ours) if not _is_library(one.filename)), None)
    where = f", in {frame.filename}:{frame.lineno}: {frame.line}" if frame else ""
    return f"{where}. Most likely another process of this pool has bound it at its own import. {BIND_ELSEWHERE}"


def _is_library(file: str) -> bool:
    return file.startswith(os.path.dirname(os.__file__) + os.sep)


def _is_ours(file: str) -> bool:
    """Frames between the template and the application's first line tell nobody anything."""
    if file.startswith(("<frozen importlib", "<frozen runpy")):
        return True
    return file == importlib.__file__ or "fpm/template/" in file
