"""What a pool without a working application answers: 503 with a plain page, instead of letting clients hang."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from fpm.protocol.spec import WorkerSettings
from fpm.worker.worker import run_worker

PAGE = b"Service Unavailable: the application does not start. Its administrator finds the reason in the log.\n"
RETRY_AFTER = "5"
"""Seconds; only a hint to clients, the master's backoff decides."""


def unavailable_application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """A WSGI application that is sorry. No details: they are in the log, which the client must not see."""
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Retry-After", RETRY_AFTER),
        ("Cache-Control", "no-store"),
    ]
    start_response("503 Service Unavailable", headers)
    return [PAGE]


def serve_unavailable(settings: WorkerSettings, channel: socket.socket) -> int:
    """Answer 503 on the pool's listening socket until the master says quit; returns the exit code."""
    return run_worker(settings, unavailable_application, slot=0, channel=channel, access_log=None)
