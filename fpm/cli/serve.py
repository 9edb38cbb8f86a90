"""`pyfpm serve MODULE:APP`: serve an application in a real pool to a browser. For development only."""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from types import FrameType

import click
import waitress
from waitress import wasyncore

from fpm.cli.output import complain, print_page, say
from fpm.cli.serve_pool import ServedPool, ServeError, served_pool
from fpm.client.gateway import Gateway
from fpm.config.model import TcpAddress
from fpm.errors import EXIT_FAILED, StartError
from fpm.system.listening import open_address
from fpm.system.socket_access import SocketAccess

BACKLOG = 128
END_TIME = 1.0
"""Seconds between SIGCHLD and the last event of a master that has exited."""
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

TEXT = """
pyfpm serves {app} on http://{address}/   (Ctrl-C stops)

To use it for real, write a pool file and point nginx at its socket:

    ; /etc/pyfpm/pools.d/{name}.conf
    [{name}]
    user = {user}
    listen = /run/pyfpm/{name}.sock
    listen.group = www-data
    app = {app}
    chdir = {chdir}
    python = {python}
    pm = dynamic
    pm.max_children = {workers}
    pm.start_servers = 1
    pm.min_spare_servers = 1
    pm.max_spare_servers = {spare}

    # nginx, in a server block
    location / {{
        include fastcgi_params;
        fastcgi_pass unix:/run/pyfpm/{name}.sock;
    }}
"""


class _Stop(SystemExit):
    """A signal asked us to stop, or the pool's master has exited. waitress's loop lets a SystemExit pass."""


@click.command()
@click.argument("app", metavar="MODULE:APP")
@click.option("--bind", default="127.0.0.1:8000", show_default=True, metavar="HOST:PORT", help="Port 0: any free port.")
@click.option(
    "--workers", default=4, show_default=True, type=click.IntRange(1, 1000), help="Maximum number of workers."
)
def serve(app: str, bind: str, workers: int) -> None:
    """Serve one application on a local HTTP port, without any configuration.

    The application is imported from the current directory, with the Python that runs pyfpm. For development only: in
    production, nginx takes the place of this gateway.
    """
    try:
        with _listen(bind) as listener, _signals_stop(), served_pool(app, workers) as pool:
            host, port = listener.getsockname()[:2]
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            print_page(_introduction(app, address, workers))
            _serve(listener, pool, workers)
    except _Stop as stop:
        raise SystemExit(stop.code) from None
    except ServeError as error:
        complain(f"pyfpm serve: {error}")
        raise SystemExit(EXIT_FAILED) from None


def _listen(bind: str) -> socket.socket:
    host, colon, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"'{bind}' is not HOST:PORT", param_hint="--bind")
    try:
        return open_address(TcpAddress(host, int(port)), BACKLOG, SocketAccess(0, None, None)).socket
    except StartError as error:
        raise ServeError(str(error)) from None


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


def _serve(listener: socket.socket, pool: ServedPool, workers: int) -> None:
    """Forward HTTP until a signal arrives or the pool's master exits."""

    def master_ended(number: int, frame: FrameType | None) -> None:
        status = pool.manager.wait(END_TIME)
        if status is not None:
            complain(f"pyfpm serve: the pool's master exited with status {status}")
            raise _Stop(EXIT_FAILED)

    # The gateway reports what goes wrong in one line; waitress would add its own traceback.
    logging.getLogger("waitress").setLevel(logging.CRITICAL)
    channels: dict[int, object] = {}
    server = waitress.create_server(
        Gateway(pool.address, report=_print_request),
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


def _print_request(request: str, outcome: str) -> None:
    say(f"{time.strftime('%H:%M:%S')} {request} {outcome}")


def _introduction(app: str, address: str, workers: int) -> str:
    name = re.sub(r"\W", "", app.partition(":")[0].removesuffix(".py").rpartition("/")[2]) or "app"
    return TEXT.format(
        app=app,
        address=address,
        name=name,
        user=getpass.getuser() if os.geteuid() else name,
        chdir=os.getcwd(),
        python=sys.executable,
        workers=workers,
        spare=min(2, workers),
    )
