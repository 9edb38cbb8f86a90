"""pyfpm, a FastCGI process manager for Python: the names that applications and programs may use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fpm.library import NoRequestError, RequestTimeout, after_response, finish_request, postfork, run_postfork

if TYPE_CHECKING:
    from fpm.flup_server.server import WSGIServer
    from fpm.manager import Manager, Pool, Settings

__all__ = [
    "Manager",
    "NoRequestError",
    "Pool",
    "RequestTimeout",
    "Settings",
    "WSGIServer",
    "__version__",
    "after_response",
    "finish_request",
    "postfork",
    "run_postfork",
]

__version__ = "0.1.0"

_LATE = {
    "Manager": "fpm.manager",
    "Pool": "fpm.manager",
    "Settings": "fpm.manager",
    "WSGIServer": "fpm.flup_server.server",
}
"""Names that few programs need; importing them would cost every worker time and memory."""


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module 'fpm' has no attribute {name!r}")
