"""Functions that an application may call as `fpm.NAME`. Small, because every application may import it. Pure."""

from __future__ import annotations

import contextvars
import functools
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, ParamSpec, Protocol, TypeVar

_Function = TypeVar("_Function", bound=Callable[[], object])
_Arguments = ParamSpec("_Arguments")


class NoRequestError(RuntimeError):
    """finish_request() or after_response() was called outside of a request."""


class RequestTimeout(BaseException):
    """Raised in a request that is over its time limit, where the pool has request_interrupt = yes.

    The application may clean up and answer within three seconds; otherwise pyfpm answers 504. It is not an Exception,
    so that `except Exception` in a framework does not swallow it.
    """


class Call:
    """A function to call at the end of the response, with its arguments and context variables.

    Attributes:
        name: the function's name for people.
    """

    __slots__ = ("_arguments", "_context", "_function", "_keywords", "name")

    def __init__(self, function: Callable[..., object], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._function = function
        self._arguments = arguments
        self._keywords = keywords
        self._context = contextvars.copy_context()
        self.name = name_function(function)

    def run(self) -> None:
        self._context.run(self._function, *self._arguments, **self._keywords)


class CurrentRequest(Protocol):
    """The worker's side of the functions below: the request that is being served."""

    def finish_early(self, iterable: Iterable[bytes] | None, task: str) -> bool:
        """End the request for the web server; `task` names what continues. Return False if it has ended already."""

    def call_after(self, call: Call) -> None:
        """Call a function when the response has been sent."""

    def disown(self) -> None:
        """Mark this process as a copy that the application has forked: it must not touch the response any more."""


class _Current:
    """The current request of this process: a worker serves one at a time, so this is true for all its threads."""

    request: CurrentRequest | None = None
    in_worker = False
    """This is a worker, or was forked from one."""
    is_copy = False
    """This process was forked from a worker by its application."""
    in_pool = False
    """This is a template or a worker, or was forked from one."""
    take: Callable[[Callable[..., Any]], NoReturn] | None = None
    """Takes over the application of a script that calls WSGIServer(...).run(), see fpm.template.script."""


current = _Current()
postfork_functions: list[Callable[[], object]] = []


def finish_request(iterable: Iterable[bytes] | None = None) -> bool:
    """Send the response so far and release the web server; the code continues, and later output is dropped.

    The headers must have been set (start_response). The response so far is what has been passed to write() or produced
    by the iterable.

    Args:
        iterable: a response that the application has not returned yet: all of it is sent, and its close() is called.
            What the application returns then is not sent; it may be the same object.

    Returns:
        True; False if the request was already finished.

    Raises:
        NoRequestError: outside of a request, or not in a pyfpm worker.
        RuntimeError: before start_response().
    """
    request = current.request
    if request is None:
        raise NoRequestError(_explain("finish_request", "there is no response that it could finish"))
    caller = sys._getframe(1)
    name = f"{caller.f_globals.get('__name__', '?')}.{caller.f_code.co_qualname}"
    return request.finish_early(iterable, name)


def after_response(
    function: Callable[_Arguments, object], /, *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> None:
    """Call a function in this process soon after the response has been sent and the request has ended.

    Several functions are called one after the other, in the order given. Each sees the context variables as they are
    now. An exception is logged, and the next function is called. A called function may add more. They are called
    whatever the response was, and also if the client is gone.

    Raises:
        NoRequestError: outside of a request, or not in a pyfpm worker.
        TypeError: `function` cannot be called.
    """
    request = current.request
    if request is None:
        raise NoRequestError(
            _explain("after_response", "there is no response to wait for: call the function itself, or start a thread")
        )
    if not callable(function):
        raise TypeError(f"after_response() needs a function and its arguments, not {type(function).__name__}")
    if getattr(getattr(function, "__code__", None), "co_flags", 0) & _LAZY:
        name = name_function(function)
        raise TypeError(f"{name}() does nothing until it is awaited or iterated over; see asyncio.run()")
    request.call_after(Call(function, args, kwargs))


def _explain(name: str, advice: str) -> str:
    where = "outside of a request served by pyfpm"
    if current.is_copy:
        where = "in a process that the application has forked from a worker of pyfpm"
    elif not current.in_worker:
        where = "outside of a worker of pyfpm"
    return f"{name}() was called {where}: {advice}"


def name_function(function: object) -> str:
    """Return the name by which people know a callable, such as "shop.mail.send"."""
    for _ in range(_WRAPPINGS):
        if not isinstance(function, functools.partial):
            break
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', None) or '?'}.{getattr(named, '__qualname__', '?')}"


_WRAPPINGS = 10
_LAZY = 0x20 | 0x80 | 0x200
"""CO_GENERATOR, CO_COROUTINE and CO_ASYNC_GENERATOR of inspect: calling such a function runs nothing."""


def postfork(function: _Function) -> _Function:
    """Register a function to run in each worker after its fork and before it serves; usable as a decorator.

    It is meant for what does not survive a fork: threads, connections, random state.
    """
    postfork_functions.append(function)
    return function


def run_postfork() -> None:
    """Run the registered functions in the order of their registration; exceptions propagate."""
    for function in postfork_functions:
        function()
