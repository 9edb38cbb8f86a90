"""Calls an application (PEP 3333). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fpm.wsgi.environ import Environ
from fpm.wsgi.response import Response

WSGIApp = Callable[[Environ, Any], Iterable[bytes]]


def run_application(application: WSGIApp, environ: Environ, response: Response) -> None:
    """Calls the application once and sends its answer; its iterable is always closed.

    Raises:
        Whatever the application raises.
    """
    result = application(environ, response.start_response)
    try:
        response.send_result(result)
    finally:
        if hasattr(result, "close") and result is not response.given:
            result.close()
