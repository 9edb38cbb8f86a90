"""What an application may call, where there is no request; names of functions."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import pytest

import fpm
from fpm.library import Call, current, name_function


class Host:
    """Keeps what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.finished: list[tuple[object, str]] = []

    def finish_early(self, iterable: Iterable[bytes] | None, task: str) -> bool:
        self.finished.append((iterable, task))
        return len(self.finished) == 1

    def call_after(self, call: Call) -> None:
        self.calls.append(call)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    monkeypatch.setattr(current, "request", made)
    return made


@pytest.mark.parametrize(
    ("where", "values"),
    [
        ("outside of a worker of pyfpm", {"in_worker": False, "request": None}),
        ("outside of a request served by pyfpm", {"in_worker": True, "request": None}),
        ("in a process that the application has forked", {"in_worker": True, "request": None, "is_copy": True}),
    ],
)
def test_where_there_is_no_request(monkeypatch: pytest.MonkeyPatch, where: str, values: dict[str, object]) -> None:
    for name, value in values.items():
        monkeypatch.setattr(current, name, value)
    with pytest.raises(fpm.NoRequestError, match=rf"finish_request\(\) was called {where}"):
        fpm.finish_request()
    with pytest.raises(fpm.NoRequestError, match=rf"after_response\(\) was called {where}.*call the function itself"):
        fpm.after_response(print)


def test_who_goes_on_is_named(host: Host) -> None:
    assert fpm.finish_request()
    assert not fpm.finish_request([b"x"])
    here = f"{__name__}.test_who_goes_on_is_named"
    assert host.finished == [(None, here), ([b"x"], here)]


def test_a_call_keeps_its_arguments(host: Host) -> None:
    got: list[object] = []
    fpm.after_response(lambda *args, **kwargs: got.append((args, kwargs)), 1, function=2)
    host.calls[0].run()
    assert got == [((1,), {"function": 2})]


class Callable_:
    def __call__(self) -> None:
        """Nothing."""

    def method(self) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (print, "builtins.print"),
        (Callable_(), f"{__name__}.Callable_"),
        (Callable_().method, f"{__name__}.Callable_.method"),
        (functools.partial(functools.partial(print), 1), "builtins.print"),
        (Callable_, f"{__name__}.Callable_"),
    ],
)
def test_names(function: object, name: str) -> None:
    assert name_function(function) == name


def test_functions_that_would_do_nothing(host: Host) -> None:
    async def coroutine() -> None:
        """Nothing."""

    def generator() -> Iterable[int]:
        yield 1

    for function in (coroutine, generator):
        with pytest.raises(TypeError, match="does nothing until it is awaited or iterated over"):
            fpm.after_response(function)
    with pytest.raises(TypeError, match="needs a function and its arguments, not int"):
        fpm.after_response(1)  # type: ignore[arg-type]
    assert host.calls == []
