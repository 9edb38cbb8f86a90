"""`app = script:/path/app.fcgi ARGUMENT...` or `script:-m MODULE ARGUMENT...`: a program that serves by itself.

The program is run as Python would run it, and when it calls `fpm.WSGIServer(application).run()` its application is
taken over; that call never returns.
"""

from __future__ import annotations

import os
import runpy
import shlex
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from fpm.library import current
from fpm.protocol.application import SCRIPT
from fpm.template.application import ApplicationError
from fpm.template.wsgi_check import why_no_application
from fpm.worker.process_end import flush_streams
from fpm.worker.stdio import write_error

_STARTS = ("/", "-", "'", '"')
"""What comes after the prefix, so that `script:application` is still a module and a callable."""


def is_script(app: str) -> bool:
    """Whether this value of `app` is a script."""
    return app.startswith(SCRIPT) and app[len(SCRIPT) :].startswith(_STARTS)


def run_script(app: str, go_on: Callable[[Callable[..., Any]], NoReturn]) -> NoReturn:
    """Run the program, as `__main__`, up to the point where it hands its application over.

    Args:
        app: the directive. Its words are quoted as for a shell.
        go_on: called with the application; does not return.

    Raises:
        ApplicationError: the program has ended without handing anything over.
        BaseException: whatever it raises before.
    """
    pid = os.getpid()

    def take(application: Callable[..., Any]) -> NoReturn:
        current.take = None
        if os.getpid() != pid:
            _leave_fork(app)
        if problem := why_no_application(application, None):
            raise ApplicationError(f"app = {app}: what it gives to WSGIServer {problem}")
        go_on(application)

    current.take = take
    words = shlex.split(app.removeprefix(SCRIPT))
    if words[0] == "-m":
        # As `python -m` has it; runpy puts the module's file in place of the name.
        sys.argv = words[1:]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        if not os.path.isdir(words[0]):
            sys.path.insert(0, os.path.dirname(words[0]))
        runpy.run_path(words[0], run_name="__main__")
    raise ApplicationError(
        f"app = {app}: it has ended without calling fpm.WSGIServer(application).run(), so there is nothing to serve"
    )


def _leave_fork(app: str) -> NoReturn:
    write_error(
        f"{app}: it has forked before WSGIServer.run(). A pool's processes are looked after by pyfpm: let the script "
        "stay in the foreground\n"
    )
    flush_streams()
    os._exit(1)
