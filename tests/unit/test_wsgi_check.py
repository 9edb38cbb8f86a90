"""Which objects can be WSGI applications, and what is said of those that cannot."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from fpm.template.wsgi_check import why_no_application, why_no_factory


def application(environ: Any, start_response: Any) -> Any:
    """An application."""


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Another kind of one."""


@functools.wraps(asgi)
def wrapped_asgi(*arguments: Any) -> Any:
    return asgi(*arguments)


class Made:
    def __init__(self, name: str = "shop") -> None:
        self.name = name

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """An application."""


class Response:
    """An application by its constructor (PEP 3333)."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        pass

    def __iter__(self) -> Any:
        return iter([b""])


class NoResponse:
    def __init__(self, environ: Any, start_response: Any) -> None:
        pass


class Proxy:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("working outside of the context")

    def __call__(self, *arguments: Any) -> Any:
        """Whatever it stands for."""


class Tornado:
    def __call__(self, request: Any) -> Any:
        """No application."""


def make() -> Any:
    return application


def make_configured(config: str = "default", debug: bool = False) -> Any:
    return application


@pytest.mark.parametrize(
    "value",
    [
        application,
        Made(),
        Made().__call__,
        Response,
        pytest.param(Proxy(), id="proxy"),
        functools.partial(application),
        lambda environ=None, start_response=None: [],
        lambda *arguments, **named: [],
        dict,
    ],
)
def test_what_may_be_an_application_passes(value: Any) -> None:
    assert why_no_application(value, "shop:app") is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "is NoneType, not a WSGI callable"),
        (asgi, "is an ASGI application"),
        (wrapped_asgi, "is an ASGI application"),
        (Made, "is a class, not an application. Write app = shop:app() to have one made"),
        (NoResponse, "is a class, and its instances cannot be iterated over as a response can"),
        (make, "takes no argument: a factory? Write app = shop:app()"),
        (make_configured, "takes (config: 'str' = 'default', debug: 'bool' = False), all of them optional: a factory?"),
        (Tornado(), "takes (request: 'Any'), not (environ, start_response) as a WSGI application does"),
    ],
)
def test_what_cannot_be_one_is_named(value: Any, words: str) -> None:
    assert str(why_no_application(value, "shop:app")).startswith(words)


@pytest.mark.parametrize("value", [make, make_configured, Made, pytest.param(Proxy(), id="proxy"), dict])
def test_what_may_make_one_passes(value: Any) -> None:
    assert why_no_factory(value, "shop:app()") is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Made(), "shop:app is the application itself, not a factory. Write app = shop:app"),
        (application, "shop:app is the application itself, not a factory. Write app = shop:app"),
        (asgi, "shop:app is a coroutine function"),
        (7, "shop:app is int and cannot be called"),
        (lambda config: application, "shop:app is called without arguments, and takes (config)"),
    ],
)
def test_what_makes_none_is_named(value: Any, words: str) -> None:
    assert str(why_no_factory(value, "shop:app()")).startswith(words)
