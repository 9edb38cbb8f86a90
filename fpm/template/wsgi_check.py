"""Can this object be a WSGI application? What cannot would pass the import and answer 500 to everything.

It is looked at, not called, and let pass if its signature cannot be known, as that of a function in C. Pure.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any

_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_ASGI = (
    "is an ASGI application, and pyfpm speaks WSGI. Name the framework's WSGI application (Django: wsgi.py), or wrap "
    "it: a2wsgi.ASGIMiddleware(application)"
)


def why_no_application(value: Any, app: str | None) -> str | None:
    """Say what is wrong with an application: a predicate, and what to do; None if nothing is.

    Args:
        app: what names it, if it can be named otherwise.
    """
    if not callable(value):
        return f"is {type(value).__name__}, not a WSGI callable"
    return _look(_judge_application, value, app)


def _judge_application(value: Any, app: str | None) -> str | None:
    if _is_asgi(value):
        return _ASGI
    parameters = _parameters(value)
    if parameters is None or _takes(parameters, 2):
        if parameters is not None and app is not None and _is_configured_factory(parameters):
            return f"takes ({_names(parameters)}), all of them optional: a factory? Write app = {app}()"
        return _why_no_class(value, app) if inspect.isclass(value) else None
    if inspect.isclass(value):
        return f"is a class{_write(value, parameters, app)}"
    taken = f"takes ({_names(parameters)})" if parameters else "takes no argument"
    if app is not None and _takes(parameters, 0):
        return f"{taken}: a factory? Write app = {app}()"
    return f"{taken}, not (environ, start_response) as a WSGI application does"


def why_no_factory(value: Any, app: str) -> str | None:
    """Say what is wrong with something that `app` wants called without arguments; None if nothing is."""
    return _look(_judge_factory, value, app.removesuffix("()"))


def _look(judge: Callable[[Any, Any], str | None], value: Any, name: str | None) -> str | None:
    try:
        return judge(value, name)
    except Exception:  # a proxy raises whatever it likes to when it is looked at; what it stands for may be right
        return None


def _judge_factory(value: Any, name: str) -> str | None:
    if inspect.iscoroutinefunction(value):
        return f"{name} is a coroutine function: an ASGI application, or a factory that returns no application"
    if not callable(value):
        return f"{name} is {type(value).__name__} and cannot be called. Write app = {name} if it is the application"
    parameters = _parameters(value)
    if parameters is None or _takes(parameters, 0):
        return None
    if _is_asgi(value):
        return f"{name} {_ASGI}"
    if not inspect.isclass(value) and _takes(parameters, 2) and why_no_application(value, None) is None:
        return f"{name} is the application itself, not a factory. Write app = {name}"
    return f"{name} is called without arguments, and takes ({_names(parameters)})"


def _is_asgi(value: Any) -> bool:
    call = value if inspect.isroutine(value) or inspect.isclass(value) else type(value).__call__
    if any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in (value, call)):
        return True
    parameters = _parameters(value) or []
    return [one.name for one in parameters[:3]] == ["scope", "receive", "send"]


def _parameters(value: Any) -> list[Parameter] | None:
    """Its parameters; None if they are not known."""
    try:
        return list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return None


def _takes(parameters: list[Parameter], count: int) -> bool:
    """Can it be called with so many arguments by position?"""
    required = [one for one in parameters if one.default is Parameter.empty]
    if any(one.kind is Parameter.KEYWORD_ONLY for one in required):
        return False
    least = sum(one.kind in _BY_POSITION for one in required)
    most = sum(one.kind in _BY_POSITION for one in parameters)
    return least <= count and (count <= most or any(one.kind is Parameter.VAR_POSITIONAL for one in parameters))


def _is_configured_factory(parameters: list[Parameter]) -> bool:
    """create_app(config="default", debug=False): no application has defaults for both, under other names."""
    both = parameters[:2]
    names = [one.name.lstrip("_")[:1] for one in both]
    is_optional = all(one.kind in _BY_POSITION and one.default is not Parameter.empty for one in both)
    return len(both) == 2 and is_optional and names != ["e", "s"]


def _why_no_class(value: Any, app: str | None) -> str | None:
    """A class may be an application: its constructor is called, and its instance is the iterable (PEP 3333)."""
    if hasattr(value, "__iter__") or hasattr(value, "__getitem__"):
        return None
    return f"is a class, and its instances cannot be iterated over as a response can{_write(value, [], app)}"


def _write(value: Any, parameters: list[Parameter], app: str | None) -> str:
    """For a class: what to do."""
    if not any("__call__" in vars(base) for base in value.__mro__):
        return f" that takes ({_names(parameters)}), not (environ, start_response)" if parameters else ""
    if app is None or not _takes(parameters, 0):
        return ". Make an instance in the module, and name that"
    return f", not an application. Write app = {app}() to have one made"


def _names(parameters: list[Parameter]) -> str:
    return ", ".join(str(one) for one in parameters)
