"""`pyfpm serve`: serve an application in a real pool to a browser, and its changes once saved. For development."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import signal
import socket
from collections.abc import Iterator
from types import FrameType

import click
import waitress
from waitress import wasyncore

from fpm.cli.options import examples
from fpm.cli.output import complain, print_page
from fpm.cli.serve_failure import FailurePage
from fpm.cli.serve_lines import print_line, print_request
from fpm.cli.serve_pool import ServedPool, ServeError, served_pool, served_python
from fpm.cli.serve_static import StaticFiles, parse_mount
from fpm.cli.serve_watch import Watch
from fpm.client.gateway import Gateway
from fpm.config.application_value import parse_application
from fpm.config.invalid_value import InvalidValue
from fpm.config.model import TcpAddress
from fpm.discover.project import Project, find_project
from fpm.errors import EXIT_FAILED, StartError
from fpm.system.listening import open_address
from fpm.system.socket_access import SocketAccess

BACKLOG = 128
END_TIME = 1.0
"""Seconds between SIGCHLD and the last event of a master that has exited."""
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

TEXT = """
pyfpm serves {app} on http://{address}/   (Ctrl-C stops{reloads})
{directory}, {python}
For production: {command}

"""


class _Stop(SystemExit):
    """A signal asked us to stop, or the pool's master has exited. waitress's loop lets a SystemExit pass."""


@click.command(
    epilog=examples(
        "pyfpm serve", "pyfpm serve flaskapp.py --bind 0.0.0.0:8080", "pyfpm serve shop:app --static /static=./static"
    )
)
@click.argument("application", default="", metavar="[APPLICATION]")
@click.option(
    "-b", "--bind", default="127.0.0.1:8000", show_default=True, metavar="HOST:PORT", help="Port 0: any free port."
)
@click.option(
    "-w", "--workers", default=4, show_default=True, type=click.IntRange(1, 1000), help="Maximum number of workers."
)
@click.option("--static", multiple=True, metavar="/PATH=DIR", help="Serve files of a directory; can be repeated.")
@click.option("--reload/--no-reload", default=True, help="Import the code again when it has changed (default).")
def serve(application: str, bind: str, workers: int, static: tuple[str, ...], reload: bool) -> None:
    """Serve one application over HTTP, without any file.

    APPLICATION is MODULE:CALLABLE, a module, a .py file, a directory, or Django's manage.py; the callable is
    `application`, `app` or `create_app()`. Without it, the current directory is searched. For development only: in
    production, nginx takes the place of this gateway.
    """
    try:
        mounts = [parse_mount(text) for text in static]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--static") from None
    project = _find(application)
    try:
        with _listen(bind) as listener, _signals_stop(), served_pool(project, workers) as pool:
            watch = Watch(_watched(project) if reload else [], pool.reload)  # what changes from now on counts
            pool.start(stays=reload)
            host, port = listener.getsockname()[:2]
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            print_page(_introduction(project, address, reload), newline=False)
            if pool.failure is not None:
                print_line(f"{project.app} cannot be imported; waiting for a change ...")
            gateway = FailurePage(
                Gateway(pool.address, report=print_request), project.app, lambda: pool.failure, print_request
            )
            with _watching(watch) if reload else contextlib.nullcontext():
                _serve(listener, pool, workers, StaticFiles(gateway, mounts, print_request))
    except _Stop as stop:
        raise SystemExit(stop.code) from None
    except ServeError as error:
        complain(f"pyfpm: {error}")
        raise SystemExit(EXIT_FAILED) from None


def _find(application: str) -> Project:
    project = find_project(application, os.getcwd())
    try:
        parse_application(project.app)
    except InvalidValue as error:
        raise click.BadParameter(f"{error}.", param_hint="APPLICATION") from None
    return project


def _listen(bind: str) -> socket.socket:
    host, colon, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"'{bind}' is not HOST:PORT, as in 127.0.0.1:8000.", param_hint="--bind")
    try:
        return open_address(TcpAddress(host, int(port)), BACKLOG, SocketAccess(0, None, None)).socket
    except StartError as error:
        raise ServeError(str(error)) from None


def _watched(project: Project) -> list[str]:
    """Return the directories that have the sources."""
    others = os.environ.get("PYTHONPATH", "").split(":")
    return [project.directory, *(os.path.abspath(path) for path in others if path)]


@contextlib.contextmanager
def _watching(watch: Watch) -> Iterator[None]:
    """Reload the pool when a source has changed."""
    if watch.is_partial:
        print_line("there are too many files here to watch all of them for changes; start in a smaller directory")
    watch.start()
    try:
        yield
    finally:
        watch.stop()


@contextlib.contextmanager
def _signals_stop() -> Iterator[None]:
    """Raise _Stop once on INT, TERM and HUP. A second signal does not disturb the cleanup, which is bounded."""

    def stop(number: int, frame: FrameType | None) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_IGN)
        raise _Stop(0)

    before = {number: signal.signal(number, stop) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve(listener: socket.socket, pool: ServedPool, workers: int, application: StaticFiles) -> None:
    """Forward HTTP until a signal arrives or the pool's master exits."""

    def master_ended(number: int, frame: FrameType | None) -> None:
        status = pool.manager.wait(END_TIME)
        if status is not None:
            complain(f"pyfpm: the pool's master exited with status {status}")
            raise _Stop(EXIT_FAILED)

    # The gateway reports what goes wrong in one line; waitress would add its own traceback.
    logging.getLogger("waitress").setLevel(logging.CRITICAL)
    channels: dict[int, object] = {}
    server = waitress.create_server(
        application,
        map=channels,
        sockets=[listener],
        # A thread for each worker, and some to wait in the pool's listen queue as nginx's connections do.
        threads=workers + 4,
        ident=None,
        clear_untrusted_proxy_headers=True,
    )
    before = signal.signal(signal.SIGCHLD, master_ended)
    try:
        if not pool.manager.is_running:  # it has exited before the handler was installed
            master_ended(signal.SIGCHLD, None)
        # The second is for a signal that the kernel gives to a thread: Python handles it when this one wakes up.
        wasyncore.loop(timeout=1.0, use_poll=True, map=channels)
    finally:
        signal.signal(signal.SIGCHLD, before)
        # The pool is stopped first: then threads that wait for it finish at once.
        pool.manager.begin_stop(graceful=False)
        server.task_dispatcher.shutdown()
        wasyncore.close_all(channels)


def _introduction(project: Project, address: str, reload: bool) -> str:
    where = project.app.partition(":")[0].removesuffix(".py")
    name = re.sub(r"\W", "", where.rpartition("/")[2].partition(".")[0]) or "app"
    command = ["pyfpm", "init", name, "--directory", project.directory, "--app", project.app]
    return TEXT.format(
        app=project.app,
        address=address,
        reloads=", saved changes are loaded" if reload else "",
        directory=project.directory,
        python=served_python(project.directory),
        command=shlex.join(command),
    )
