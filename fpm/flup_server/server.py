"""The class WSGIServer, created in the started process, in the template and, with `preload = no`, in each worker."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Unpack

from fpm.flup_server.arguments import Keywords, read_arguments
from fpm.library import current

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def _directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return "/"


STARTED_IN = _directory()
"""Where the script was started, unless it changed directory before it imported this module."""
_OURS = frozenset(
    [
        "wsgi.version",
        "wsgi.input",
        "wsgi.errors",
        "wsgi.multithread",
        "wsgi.multiprocess",
        "wsgi.run_once",
        "wsgi.url_scheme",
    ]
)
_SECURE = ("on", "1")


class WSGIServer:
    """A server for a WSGI application by FastCGI, as flup's classes of this name, with worker processes.

    Args:
        application: the WSGI application.
        environ: entries for the environ of every request; they replace the web server's.
        positional, keywords: as for flup.server.fcgi.WSGIServer or flup.server.fcgi_fork.WSGIServer. `bindAddress`: the
            path of a Unix socket or (host, port); without it the listening socket is descriptor 0, where a web server
            puts it. `umask`: for the socket's file. `minSpare` and `maxSpare`: numbers of idle workers.
            `maxChildren`: maximum number of workers; `maxThreads` is another name for it. `maxRequests`: requests after
            which a worker is replaced; 0: never. `forceCGI`: answer one request as a CGI program.

    Raises:
        TypeError: an argument is unknown, or has a value of another type.
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        application: Application,
        environ: Mapping[str, Any] | None = None,
        *positional: Any,
        **keywords: Unpack[Keywords],
    ) -> None:
        if not callable(application):
            raise TypeError(f"WSGIServer() needs a WSGI application, found {type(application).__name__}")
        if environ is not None and not hasattr(environ, "items"):
            raise TypeError(f"environ: expected a mapping, found {type(environ).__name__}")
        self.application = application
        self.environ = {} if environ is None else environ
        self.arguments = read_arguments(positional, keywords)

    def run(self) -> bool:
        """Serve until SIGTERM, SIGINT or SIGHUP; current requests finish.

        In a pool's own processes, which run the script again, this does not return.

        Returns:
            True after SIGHUP, else False.

        Raises:
            FpmError: the script cannot be started again, or does not hand its application over.
            OSError: the address cannot be bound.
            RuntimeError: called while a pool imports a module, or by a worker.
        """
        application = self._complete if self.environ else self.application
        if current.take is not None:
            current.take(application)
        if current.in_pool:
            raise RuntimeError(
                "WSGIServer.run() was called in a process of a pool that serves already. If the pool is to run this "
                "program, its file says app = script:/path/of/it; if it is to import it, run() must not be called then"
            )
        # A pool lacks the manager's modules, and nothing needs them before this.
        serve_module = importlib.import_module("fpm.flup_server.serve")
        return bool(serve_module.serve(application, self.arguments, STARTED_IN))

    def _complete(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Call the application with `environ` added to that of the request."""
        for name, value in self.environ.items():
            if name not in _OURS:
                environ[name] = value
        if "HTTPS" in self.environ:
            environ["wsgi.url_scheme"] = "https" if self.environ["HTTPS"] in _SECURE else "http"
        return self.application(environ, start_response)
