"""`preload.warmup`: requests that the application answers in the template, before the first fork.

What a first request imports and makes, such as routes, compiled templates and caches, is shared by the workers then,
and no client waits for it. There is no web server, no connection and no slot of the scoreboard; what the application
answers goes nowhere.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from io import BytesIO
from urllib.parse import unquote_to_bytes

from fpm.library import Call, current
from fpm.protocol.messages import WarmupFailed, pack
from fpm.protocol.spec import TemplateSpec
from fpm.worker.fork_guard import leave_copy
from fpm.worker.request_log import format_traceback
from fpm.worker.service import make_constants
from fpm.wsgi.environ import Environ, complete_environ
from fpm.wsgi.response import Response
from fpm.wsgi.run import WSGIApp, run_application
from fpm.wsgi.sink import PlainFile


class Discarding:
    """A Sink that keeps nothing."""

    def __init__(self) -> None:
        self.finished = False
        self.can_finish = True

    def send(self, data: bytes, is_last: bool = False) -> None:
        """Nothing."""

    def finish(self, data: bytes) -> None:
        """Note that it is the end."""
        self.finished = True

    def find_file(self, file: object) -> PlainFile | None:
        """Say that every file has to be read."""
        return None

    def send_file(self, head: bytes, file: PlainFile, size: int) -> int:
        """Nothing."""
        return size


class Warmup:
    """One request, and what it can ask of us (fpm.library.CurrentRequest)."""

    def __init__(self, method: str) -> None:
        self.response = Response(Discarding(), method)
        self._calls: list[Call] = []

    def finish_early(self, iterable: Iterable[bytes] | None, task: str) -> bool:
        """End the response; the application goes on, and the template waits for it."""
        return self.response.finish_early(iterable)

    def call_after(self, call: Call) -> None:
        """Note it."""
        self._calls.append(call)

    def disown(self) -> None:
        """Nothing: a copy of this process has nothing of ours in its hands."""

    def answer(self, application: WSGIApp, environ: Environ) -> str:
        """Have the request answered, with what is to be done after it; returns what was wrong, "" if nothing.

        Raises:
            BaseException: whatever the application raises.
        """
        run_application(application, environ, self.response)
        while self._calls:
            self._calls.pop(0).run()
        status = self.response.status
        return f"answered {status}" if status >= "4" else ""


def warm_up(spec: TemplateSpec, channel: socket.socket, application: WSGIApp) -> None:
    """Let the application answer the requests of the pool one after the other; tell the master what goes wrong."""
    for request in spec.preload_warmup:
        problem = _try(application, request, spec.worker.script_name)
        if problem:
            channel.send(pack(WarmupFailed(request, problem)))


def _try(application: WSGIApp, request: str, mount: str | None) -> str:
    method, _, target = request.partition(" ")
    pid = os.getpid()
    warmup = current.request = Warmup(method)
    try:
        return warmup.answer(application, _environ(method, target, mount))
    except BaseException as error:  # SystemExit, too: it is no reason to be without a template
        if os.getpid() != pid:
            leave_copy(error)
        return f"uncaught exception\n{format_traceback(error, OUR_FRAMES)}"
    finally:
        current.request = None
        if os.getpid() != pid:
            leave_copy(None)  # the application has forked, and this is its child


def _environ(method: str, target: str, mount: str | None) -> Environ:
    """What a web server on this machine would send for it."""
    path, _, query = target.partition("?")
    environ: Environ = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_METHOD": method,
        "REQUEST_URI": target,
        "REQUEST_SCHEME": "http",
        "DOCUMENT_URI": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "HTTP_USER_AGENT": "pyfpm (preload.warmup)",
    }
    complete_environ(environ, mount)
    return environ | make_constants() | {"wsgi.input": BytesIO()}


OUR_FRAMES = {_try.__code__, Warmup.answer.__code__, run_application.__code__}
"""Code between the template and the application, which a traceback need not show."""
