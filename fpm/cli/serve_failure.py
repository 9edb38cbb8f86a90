"""What `pyfpm serve` answers while the application cannot be imported: the traceback, to this machine only."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from html import escape
from ipaddress import ip_address

from fpm.client.gateway import Environ, Report, StartResponse, describe_request

STATUS = "503 Service Unavailable"
_PAGE = """<!doctype html>
<meta charset="utf-8">
<title>{app} cannot be imported</title>
<style>body {{ margin: 2em; font: 1em sans-serif }} pre {{ overflow: auto; padding: 1em; background: #eee }}</style>
<h1>{app} cannot be imported</h1>
<pre>{text}</pre>
<p>pyfpm serves it as soon as a saved change can be imported. Reload this page then.</p>
"""
_ABSENT = re.compile(r"ModuleNotFoundError: No module named '(?P<name>[^']+)'.*")

Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class FailurePage:
    """Answers with the traceback while there is one, and otherwise by another application.

    Args:
        application: has all requests of other machines, too, to which a traceback would show the code.
        failure: returns the traceback; None while the application serves.
    """

    def __init__(self, application: Application, app: str, failure: Callable[[], str | None], report: Report) -> None:
        self._application = application
        self._app = app
        self._failure = failure
        self._report = report

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        begin, text = time.monotonic(), self._failure()
        if text is None or not is_loopback(environ["REMOTE_ADDR"]):
            return self._application(environ, start_response)
        kind, body = render(self._app, text, environ.get("HTTP_ACCEPT", ""))
        headers = [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response(STATUS, [*headers, ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")])
        self._report(describe_request(environ), STATUS.partition(" ")[0], time.monotonic() - begin)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def render(app: str, text: str, accept: str) -> tuple[str, bytes]:
    """Return type and body of the page: for a browser HTML, for other programs the text."""
    if "text/html" in accept:
        return "text/html", _PAGE.format(app=escape(app), text=escape(text)).encode("utf-8", "backslashreplace")
    return "text/plain", f"{app} cannot be imported\n\n{text.rstrip()}\n".encode("utf-8", "backslashreplace")


def is_loopback(address: str) -> bool:
    """Tell whether a client is on this machine, also by an IPv4 address on an IPv6 socket."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def lacks_module(app: str, failure: str) -> bool:
    """Tell whether an import has failed because the module itself is nowhere, not one that it imports.

    Args:
        app: the directive, `module:callable`.
        failure: the traceback, which has no frame then.
    """
    found = _ABSENT.fullmatch(failure.strip())
    return found is not None and f"{app.partition(':')[0]}.".startswith(f"{found['name']}.")
