"""Runs a manager with one pool, in the process that calls run(), until a signal arrives."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any
from wsgiref.handlers import CGIHandler

from fpm.errors import FpmError, StartError
from fpm.flup_server.arguments import Arguments
from fpm.flup_server.listening_socket import inherited_listener, open_listener
from fpm.flup_server.program import describe_program, first_arguments, name_pool
from fpm.flup_server.server import Application
from fpm.manager import Manager, Pool, Settings
from fpm.manager.console import show_event, write_line
from fpm.system.listening import Listener
from fpm.system.own_command import own_python
from fpm.wsgi.environ import complete_environ

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
FINISH_TIME = 10
"""Seconds that current requests have at the end, as with flup."""
STARTUP_TIME = 300
"""Seconds for the import. The script has run once already, so it is not stuck."""


def serve(application: Application, arguments: Arguments, directory: str) -> bool:
    """Serve, or answer one request as a CGI program and exit.

    Args:
        directory: where the program was started.

    Returns:
        Whether SIGHUP has ended it.

    Raises:
        FpmError, OSError: see WSGIServer.run().
    """
    _fill_standard_descriptors()
    if arguments.address is not None:
        app = _describe(directory)
        listener = open_listener(arguments.address, arguments.umask)
        return _serve(listener, app, arguments, directory)
    inherited = inherited_listener()
    if arguments.force_cgi or os.environ.get("FCGI_FORCE_CGI", "")[:1] in ("Y", "y"):
        _answer_once(application)
    elif inherited is not None:
        app = _describe(directory)
        return _serve(inherited, app, arguments, directory)
    elif "REQUEST_METHOD" in os.environ:
        _answer_once(application)
    raise StartError(
        "WSGIServer.run(): descriptor 0 is not a listening socket, and there is no REQUEST_METHOD as for a CGI program."
        " Let the web server start this script (Apache's mod_fcgid, lighttpd's bin-path), or say where to listen: "
        "WSGIServer(application, bindAddress='/run/app.sock') or bindAddress=('127.0.0.1', 9000)"
    )


def _describe(directory: str) -> str:
    return describe_program(sys.modules["__main__"], first_arguments(sys.argv, sys.orig_argv), directory)


def _fill_standard_descriptors() -> None:
    """Open /dev/null at closed standard descriptors, so that later files do not get their numbers."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != fd:
                os.dup2(null, fd)
                os.close(null)


def _answer_once(application: Application) -> None:
    def complete(environ: dict[str, Any], start_response: Any) -> Any:
        complete_environ(environ, None)
        return application(environ, start_response)

    CGIHandler().run(complete)
    sys.exit(0)


def _serve(listener: Listener, app: str, arguments: Arguments, directory: str) -> bool:
    if arguments.notice:
        write_line(f"NOTICE: {arguments.notice}")
    with contextlib.ExitStack() as stack:
        stack.callback(listener.close)
        pool = Pool(
            name_pool(app), app=app, listen=listener.socket, **_directives(listener.socket, arguments, directory)
        )
        settings = Settings(process_control_timeout=FINISH_TIME)
        manager = Manager(
            [pool], settings, on_event=show_event, allow_root=os.geteuid() == 0, name=app.removeprefix("script:")
        )
        return _run(manager, listener)


def _run(manager: Manager, listener: Listener) -> bool:
    """Start the manager and wait for its exit; return whether SIGHUP has ended it."""
    with _signals(manager, listener) as received:
        try:
            manager.start(timeout=STARTUP_TIME + 30)
        except StartError:
            if not received:
                raise
        # Only the workers keep it open from now on, so it is closed when they stop.
        listener.socket.close()
        if received:  # perhaps before the master existed
            manager.begin_stop()
        status = manager.wait()
        if not received:
            raise FpmError(f"WSGIServer.run(): the process that manages the workers exited with status {status}")
        return received[0] == signal.SIGHUP


@contextlib.contextmanager
def _signals(manager: Manager, listener: Listener) -> Iterator[list[int]]:
    """Stop the manager at each of ENDING: the first lets requests finish, another aborts them.

    Yields:
        The signals received so far.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        listener.remove_file()
        manager.begin_stop(graceful=not received)
        received.append(number)

    before = {number: signal.signal(number, stop) for number in ENDING}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _directives(listening: socket.socket, arguments: Arguments, directory: str) -> Mapping[str, Any]:
    """Return the pool's directives, with which the script is started as it was started here."""
    directives: dict[str, Any] = {
        "python": own_python(),
        "chdir": directory,
        "clear_env": False,
        "pm": "dynamic",
        "pm_max_children": arguments.max_children,
        "pm_start_servers": arguments.min_spare,
        "pm_min_spare_servers": arguments.min_spare,
        "pm_max_spare_servers": arguments.max_spare,
        "pm_max_requests": arguments.max_requests,
        "pm_max_requests_jitter": 0,
        "startup_timeout": STARTUP_TIME,
        "catch_workers_output": True,
        "decorate_workers_output": False,
    }
    if os.geteuid() == 0:
        directives |= {"user": "root", "group": "root"}
    allowed = os.environ.get("FCGI_WEB_SERVER_ADDRS", "")
    if listening.family != socket.AF_UNIX and allowed.strip():
        # FastCGI 1.0 section 3.2.
        directives["listen_allowed_clients"] = ", ".join(address.strip() for address in allowed.split(","))
    return directives
