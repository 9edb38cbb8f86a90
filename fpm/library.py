"""What an application may call: the functions behind `import fpm`. Light, as every application may import it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from typing import TypeVar

_Function = TypeVar("_Function", bound=Callable[[], object])


class NoRequestError(RuntimeError):
    """finish_request() was called where no request is being served."""


class CurrentRequest(Protocol):
    """The request that this worker serves."""

    def finish_early(self) -> bool:
        """Ends it for the web server; False if it has ended already."""


class _Current:
    """Holds the request of this process: a worker serves one at a time, so any of its threads means that one."""

    request: CurrentRequest | None = None


current = _Current()
postfork_functions: list[Callable[[], object]] = []


def finish_request() -> bool:
    """Sends the response so far and releases the web server; the code goes on, and what it still sends is dropped.

    The headers must have been given (start_response). What counts as sent is what write() was called with or the
    iterable has given.

    Returns:
        True; False if the request was already finished.

    Raises:
        NoRequestError: outside of a request, or not in a pyfpm worker.
        RuntimeError: before start_response().
    """
    if current.request is None:
        raise NoRequestError("finish_request() was called outside of a request served by pyfpm")
    return current.request.finish_early()


def postfork(function: _Function) -> _Function:
    """Registers a function to be run in each worker after it was forked and before it serves; usable as a decorator.

    For what does not survive a fork: threads, connections, random state.
    """
    postfork_functions.append(function)
    return function


def run_postfork() -> None:
    """Runs the registered functions in the order of their registration; what one raises goes to the caller."""
    for function in postfork_functions:
        function()
