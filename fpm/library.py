"""What an application may call: the functions behind `import fpm`. Light, as every application may import it. Pure."""

from __future__ import annotations

import contextvars
import functools
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, ParamSpec, Protocol, TypeVar

_Function = TypeVar("_Function", bound=Callable[[], object])
_Arguments = ParamSpec("_Arguments")


class NoRequestError(RuntimeError):
    """finish_request() or after_response() was called where no request is being served."""


class RequestTimeout(BaseException):
    """Raised in a request that is over its limit, where the pool has request_interrupt = yes.

    The application may clean up and give an answer of its own, which it has three seconds for; else pyfpm answers 504.
    Not an Exception, so that `except Exception` in a framework does not swallow it.
    """


class Call:
    """A function that waits for the end of the response, with the context variables it was given in.

    Attributes:
        name: of the function, as people know it.
    """

    __slots__ = ("_arguments", "_context", "_function", "_keywords", "name")

    def __init__(self, function: Callable[..., object], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._function = function
        self._arguments = arguments
        self._keywords = keywords
        self._context = contextvars.copy_context()
        self.name = name_function(function)

    def run(self) -> None:
        """Call it."""
        self._context.run(self._function, *self._arguments, **self._keywords)


class Host(Protocol):
    """The worker's side of the functions below."""

    def finish_early(self, iterable: Iterable[bytes] | None, task: str) -> bool:
        """Ends the request for the web server; `task` is the name of who goes on. False if it has ended already."""

    def call_after(self, call: Call) -> None:
        """Has a function called when the response is out."""


class _Current:
    """Holds the request of this process: a worker serves one at a time, so any of its threads means that one."""

    request: object | None = None
    """Its response."""
    host: Host | None = None
    is_copy = False
    """This process was forked from a worker by its application."""
    in_pool = False
    """This is a template or a worker, or was forked from one."""
    take: Callable[[Callable[..., Any]], NoReturn] | None = None
    """Takes the application over from a script that calls WSGIServer(...).run(), see fpm.template.script."""


current = _Current()
postfork_functions: list[Callable[[], object]] = []


def finish_request(iterable: Iterable[bytes] | None = None) -> bool:
    """Sends the response so far and releases the web server; the code goes on, and what it still sends is dropped.

    The headers must have been given (start_response). What counts as sent is what write() was called with or the
    iterable has given.

    Args:
        iterable: a response that the application has in its hands and has not returned yet: all of it is sent, and its
            close() is called. What the application returns then is not sent; it may be the same object.

    Returns:
        True; False if the request was already finished.

    Raises:
        NoRequestError: outside of a request, or not in a pyfpm worker.
        RuntimeError: before start_response().
    """
    host = current.host
    if host is None or current.request is None:
        raise NoRequestError(_explain("finish_request", "there is no response that it could finish"))
    caller = sys._getframe(1)
    name = f"{caller.f_globals.get('__name__', '?')}.{caller.f_code.co_qualname}"
    return host.finish_early(iterable, name)


def after_response(
    function: Callable[_Arguments, object], /, *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> None:
    """Has a function called when the response is out and the request has ended, in this process, soon.

    Several are called one after the other, in the order in which they were given. Each sees the context variables as
    they are now. What one raises is logged, and the next is called all the same. A function that is called so may give
    more. They are called whatever the response was, and also if the client is gone.

    Raises:
        NoRequestError: outside of a request, or not in a pyfpm worker.
        TypeError: `function` cannot be called.
    """
    host = current.host
    if host is None or current.request is None:
        raise NoRequestError(
            _explain("after_response", "there is no response to wait for: call the function itself, or start a thread")
        )
    if not callable(function):
        raise TypeError(f"after_response() needs a function and its arguments, not {type(function).__name__}")
    if getattr(getattr(function, "__code__", None), "co_flags", 0) & _LAZY:
        name = name_function(function)
        raise TypeError(f"{name}() does nothing until it is awaited or iterated over; see asyncio.run()")
    host.call_after(Call(function, args, kwargs))


def _explain(name: str, advice: str) -> str:
    where = "outside of a request served by pyfpm"
    if current.is_copy:
        where = "in a process that the application has forked from a worker of pyfpm"
    elif current.host is None:
        where = "outside of a worker of pyfpm"
    return f"{name}() was called {where}: {advice}"


def name_function(function: object) -> str:
    """The name by which people know something that can be called, as in "shop.mail.send"."""
    for _ in range(_WRAPPINGS):
        if not isinstance(function, functools.partial):
            break
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', None) or '?'}.{getattr(named, '__qualname__', '?')}"


_WRAPPINGS = 10
_LAZY = 0x20 | 0x80 | 0x200
"""CO_GENERATOR, CO_COROUTINE and CO_ASYNC_GENERATOR of inspect: to call such a function does nothing."""


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
