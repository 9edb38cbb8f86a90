"""What the log says of an exception that nobody has caught."""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Callable

import pytest

from fpm.worker.request_log import format_traceback


def create_connection(address: object) -> None:
    """As the standard library's, which knows whom it wants to reach."""
    raise ConnectionRefusedError(111, "Connection refused")


def fail_later() -> None:
    try:
        create_connection(("::1", 6379, 0, 0))
    except OSError as error:
        raise RuntimeError("no cache") from error


def fail_with_notes() -> None:
    try:
        create_connection(("::1", 6379))
    except OSError as error:
        error.add_note("call the administrator")
        raise


class Unspeakable(Exception):
    """Says nothing of itself, as one with a mistake in it or a translation that fails."""

    def __str__(self) -> str:
        raise LookupError("no text")


class UnspeakableRefusal(Unspeakable, ConnectionRefusedError):
    pass


def fail_without_words(error: Exception) -> None:
    raise error


def raised_by(call: Callable[[], object]) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        call()
    return format_traceback(caught.value, ())


REFUSED = "ConnectionRefusedError: [Errno 111] Connection refused"


@pytest.mark.parametrize(
    ("call", "last"),
    [
        (lambda: create_connection(("10.0.0.5", 5432)), f"{REFUSED} (10.0.0.5:5432)"),
        (lambda: create_connection("/run/db.sock"), REFUSED),
        (lambda: create_connection((b"host", 1)), REFUSED),
        (lambda: create_connection(()), REFUSED),
        (fail_later, "RuntimeError: no cache"),
        (fail_with_notes, "call the administrator"),
        (lambda: fail_without_words(Unspeakable()), f"{__name__}.Unspeakable: <exception str() failed>"),
        (lambda: fail_without_words(UnspeakableRefusal()), f"{__name__}.UnspeakableRefusal: <exception str() failed>"),
        (lambda: os.stat("/no/such/file"), "FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file'"),
    ],
)
def test_a_refused_connection_is_told_with_its_address(call: Callable[[], object], last: str) -> None:
    assert raised_by(call).splitlines()[-1] == last


def test_clients_of_the_standard_library_are_understood() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        text = raised_by(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/"))
        assert text.endswith(f"URLError: <urlopen error [Errno 111] Connection refused> (127.0.0.1:{port})")
        text = raised_by(lambda: socket.create_connection(("127.0.0.1", port)))
        assert text.endswith(f"{REFUSED} (127.0.0.1:{port})")
