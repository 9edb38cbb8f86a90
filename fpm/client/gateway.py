"""A WSGI application that forwards every HTTP request to a FastCGI server, as nginx does with `fastcgi_pass`.

It needs only an address, no configuration. The caller chooses the HTTP server; `pyfpm serve` uses waitress.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from fpm.client.exchange import Response, send_request
from fpm.client.records import TimeLimits
from fpm.client.request import SOFTWARE
from fpm.config.model import ListenAddress
from fpm.errors import ClientError, PeerTimeout

READ_SIZE = 65536
HOP_BY_HOP = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
"""Headers about one connection (RFC 9110 section 7.6.1): the one to the browser is not the application's."""
DROPPED = frozenset(["HTTP_PROXY", "HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"])
"""Not forwarded: HTTP_PROXY sets a proxy for HTTP libraries (httpoxy, CVE-2016-5385), the others are sent otherwise."""
COPIED = (
    "REQUEST_METHOD",
    "QUERY_STRING",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "SERVER_PROTOCOL",
    "SERVER_PORT",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REQUEST_URI",
)

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


Report = Callable[[str, str, float], None]
"""Called once for each request with `METHOD URI`, its outcome (the status, or the error), and the seconds it took."""


class Gateway:
    """A WSGI application that forwards requests to one address."""

    def __init__(
        self,
        address: ListenAddress,
        *,
        limits: TimeLimits | None = None,
        report: Report | None = None,
    ) -> None:
        self._address = address
        self._limits = limits or TimeLimits()
        self._report = report or (lambda request, outcome, seconds: None)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Forward one request; answer 502 or 504 if there is no response."""
        request = describe_request(environ)
        begin = time.monotonic()

        def report(outcome: str) -> None:
            self._report(request, outcome, time.monotonic() - begin)

        try:
            params = gateway_params(environ)
            response = send_request(self._address, params, _body_of(environ), limits=self._limits)
        except ClientError as error:
            report(str(error))
            return _error_page(error, environ, start_response)
        head = response.head
        headers = [(name, value) for name, value in head.headers if name.lower() not in HOP_BY_HOP]
        start_response(f"{head.status} {head.reason}", headers)
        return _Body(response, environ["wsgi.errors"], report)


class _Body:
    """The response's body as a WSGI iterable."""

    def __init__(self, response: Response, errors: TextIO, report: Callable[[str], None]) -> None:
        self._response = response
        self._errors = errors
        self._report = report
        self._outcome = f"{response.head.status}, the client disconnected"

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response
        except ClientError as error:
            # The headers are out. Only a cut connection tells the browser that the rest is missing.
            self._outcome = f"{self._response.head.status}, then {error}"
            raise
        self._outcome = str(self._response.head.status)
        if self._response.stderr:
            self._errors.write(self._response.stderr.decode("utf-8", "replace"))

    def close(self) -> None:
        """Close the connection; the HTTP server always calls this, even if the browser has gone away."""
        self._response.close()
        self._report(self._outcome)


def describe_request(environ: Environ) -> str:
    """Return `METHOD URI` of a request, for a line about it."""
    return f"{environ['REQUEST_METHOD']} {environ.get('REQUEST_URI') or environ['PATH_INFO']}"


def gateway_params(environ: Environ) -> dict[str, str]:
    """Return the FastCGI parameters of a WSGI request: SCRIPT_NAME is empty, as for an application at the root."""
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    params = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": SOFTWARE,
        "SERVER_NAME": _server_name(environ),
        "REQUEST_SCHEME": environ["wsgi.url_scheme"],
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "DOCUMENT_URI": path,
    }
    params |= {name: str(environ[name]) for name in COPIED if name in environ}
    params |= {name: value for name, value in environ.items() if name.startswith("HTTP_") and name not in DROPPED}
    if environ["wsgi.url_scheme"] == "https":
        params["HTTPS"] = "on"
    return params


def _server_name(environ: Environ) -> str:
    """Return the host that the browser has asked for; the HTTP server in front of us knows no name of its own."""
    host: str = environ.get("HTTP_HOST", "")
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return host or "localhost"


def _body_of(environ: Environ) -> Iterator[bytes]:
    """Yield the request's body, reading no more of it than the server takes."""
    source = environ["wsgi.input"]
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left > 0:
        data = source.read(min(left, READ_SIZE))
        if not data:
            return
        left -= len(data)
        yield data


def _error_page(error: ClientError, environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Return a plain page without details, which go to the terminal."""
    status = "504 Gateway Timeout" if isinstance(error, PeerTimeout) else "502 Bad Gateway"
    body = f"{status}\n\nNo valid response from the application. See the terminal of the gateway.\n".encode()
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
