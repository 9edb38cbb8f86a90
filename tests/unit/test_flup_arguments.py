"""The arguments of flup's WSGIServer, and what has been started."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import fpm
from fpm.errors import StartError
from fpm.flup_server.arguments import read_arguments
from fpm.flup_server.program import describe_program, first_arguments, name_pool


def test_both_orders_of_positional_arguments() -> None:
    """flup.server.fcgi has two more before the address than flup.server.fcgi_fork."""
    threaded = read_arguments([True, False, "/run/a", 0o7], {})
    forked = read_arguments(["/run/a", 0o7], {})
    assert (threaded.address, threaded.umask) == (forked.address, forked.umask) == ("/run/a", 7)
    assert read_arguments([("", 9000)], {}).address == ("", 9000)
    assert read_arguments([None, 0o7], {"forceCGI": True}).force_cgi
    assert read_arguments([], {"bindAddress": Path("/run/b")}).address == "/run/b"
    assert read_arguments([], {"bindAddress": ["::1", 0]}).address == ("::1", 0)


@pytest.mark.parametrize(
    ("keywords", "sizes"),
    [
        ({}, (1, 5, 50, 0)),
        ({"minSpare": 2, "maxSpare": 3, "maxChildren": 8, "maxRequests": 500}, (2, 3, 8, 500)),
        ({"minSpare": 0, "maxSpare": 0, "maxChildren": 0}, (1, 1, 1, 0)),
        ({"maxSpare": 80}, (1, 80, 80, 0)),
        ({"minSpare": 9}, (9, 9, 50, 0)),
        ({"maxThreads": 20}, (1, 5, 20, 0)),
        ({"maxThreads": 0xFFFFFFFF}, (1, 5, 1000, 0)),
        ({"maxThreads": 20, "maxChildren": 6}, (1, 5, 6, 0)),
        ({"minSpare": 5000}, (1000, 1000, 1000, 0)),
        ({"multithreaded": False}, (1, 1, 1, 0)),
        ({"multithreaded": False, "multiprocess": True}, (1, 5, 50, 0)),
        ({"multithreaded": False, "maxChildren": 10}, (1, 5, 10, 0)),
    ],
)
def test_how_many_workers(keywords: dict[str, Any], sizes: tuple[int, int, int, int]) -> None:
    got = read_arguments([], keywords)
    assert (got.min_spare, got.max_spare, got.max_children, got.max_requests) == sizes


def test_what_has_no_effect_is_said_in_one_line() -> None:
    assert read_arguments([], {"debug": False, "multiplexed": False, "multithreaded": False}).notice == ""
    notice = read_arguments([], {"debug": True, "multiplexed": True, "timeout": 5, "jobArgs": ()}).notice
    assert notice == (
        "WSGIServer: without effect under pyfpm: multiplexed (a connection carries one request at a time), "
        "debug (tracebacks go to the log, not to the client), timeout"
    )


def server(*positional: Any, **keywords: Any) -> Callable[[], object]:
    return lambda: fpm.WSGIServer(*positional, **keywords)


@pytest.mark.parametrize(
    ("make", "error", "part"),
    [
        (server(print, colour=1), TypeError, "got an unexpected keyword argument 'colour'"),
        (server(print, None, "/run/a", bindAddress="/run/b"), TypeError, "multiple values for argument 'bindAddress'"),
        (server(print, None, "/run/a", 7, False, False, (1,), False, 1), TypeError, "at most 8 positional arguments"),
        (server(), TypeError, "application"),
        (server("not callable"), TypeError, "needs a WSGI application, found str"),
        (server(print, ["no", "mapping"]), TypeError, "environ: expected a mapping"),
        (server(print, bindAddress=9000), TypeError, "bindAddress: expected a path, or (host, port), found 9000"),
        (server(print, bindAddress=("127.0.0.1",)), TypeError, "bindAddress: expected a path, or (host, port)"),
        (server(print, bindAddress=("127.0.0.1", "9000")), TypeError, "port: expected a whole number, found '9000'"),
        (server(print, bindAddress=("127.0.0.1", 70000)), ValueError, "there is no port 70000"),
        (server(print, bindAddress=""), ValueError, "the path of the socket is empty"),
        (server(print, umask="022"), TypeError, "umask: expected a whole number, found '022'"),
        (server(print, umask=0o1777), ValueError, "umask: expected at most 0o777"),
        (server(print, minSpare=1.5), TypeError, "minSpare: expected a whole number, found 1.5"),
        (server(print, maxRequests=-1), ValueError, "maxRequests: expected 0 or more, found -1"),
        (server(print, maxChildren=True), TypeError, "maxChildren: expected a whole number, found True"),
        (server(print, roles=(2,)), ValueError, "pyfpm answers as a responder (1) only"),
    ],
)
def test_nonsense_is_refused(make: Callable[[], object], error: type[Exception], part: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert part in str(caught.value)


def main_module(file: str | None, spec: str | None = None) -> ModuleType:
    module = ModuleType("__main__")
    if file is not None:
        module.__file__ = file
    module.__spec__ = ModuleSpec(spec, None) if spec else None
    return module


@pytest.mark.parametrize(
    ("module", "arguments", "app", "name"),
    [
        (main_module("/srv/board.fcgi"), ["./board.fcgi"], "script:/srv/board.fcgi", "board"),
        (main_module("board.fcgi"), ["board.fcgi", "a b", "c"], "script:/start/board.fcgi 'a b' c", "board"),
        (main_module("/srv/my app/x.py"), ["x.py"], "script:'/srv/my app/x.py'", "x"),
        (main_module("/srv/site/__main__.py", "site.__main__"), ["/srv/..", "-v"], "script:-m site -v", "site"),
        (main_module("/srv/a/b.py", "a.b"), ["/srv/a/b.py"], "script:-m a.b", "b"),
        (main_module("site.zip/__main__.py", "__main__"), ["site.zip"], "script:/start/site.zip", "site"),
        (main_module("/srv/9.é.fcgi"), ["x"], "script:'/srv/9.é.fcgi'", "app9"),
        (main_module("/srv/global.py"), ["x"], "script:/srv/global.py", "appglobal"),
    ],
)
def test_what_has_been_started(module: ModuleType, arguments: list[str], app: str, name: str) -> None:
    assert describe_program(module, arguments, "/start") == app
    assert name_pool(app) == name


@pytest.mark.parametrize(
    ("arguments", "original", "expected"),
    [
        (["x.py"], ["python", "-W", "error", "x.py", "-v", "a"], ["x.py", "-v", "a"]),
        (["/srv/x.py", "-v"], ["python", "-m", "x", "-v"], ["/srv/x.py", "-v"]),
        (["", "-v"], ["python"], ["", "-v"]),
    ],
)
def test_options_that_the_program_has_taken_out(arguments: list[str], original: list[str], expected: list[str]) -> None:
    assert first_arguments(arguments, original) == expected


@pytest.mark.parametrize("module", [main_module(None), main_module("<stdin>")])
def test_a_program_without_a_file_cannot_be_run_again(module: ModuleType) -> None:
    with pytest.raises(StartError, match="Write it to a file and run that, or run a module with `python -m`"):
        describe_program(module, ["-c"], "/start")


def test_import_fpm_stays_light() -> None:
    assert "WSGIServer" in fpm.__all__
    assert "WSGIServer" not in vars(fpm), "made when it is asked for"
