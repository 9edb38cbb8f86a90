"""pyfpm, a FastCGI process manager for Python; this is what an application may use of it."""

from __future__ import annotations

from fpm.library import NoRequestError
from fpm.library import RequestTimeout
from fpm.library import after_response
from fpm.library import finish_request
from fpm.library import postfork
from fpm.library import run_postfork

__all__ = [
    "NoRequestError",
    "RequestTimeout",
    "__version__",
    "after_response",
    "finish_request",
    "postfork",
    "run_postfork",
]

__version__ = "0.1.0"
