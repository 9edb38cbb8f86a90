"""What listens at the path of a control socket may be another program, or a master of another version."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fpm.cli.options import Options
from fpm.client.control import ask, fetch_snapshot, follow
from fpm.errors import ControlError

Listener = Callable[[bytes], str]


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    """Answer one request with these bytes."""
    threads = []

    def start(answer: bytes) -> str:
        path = str(tmp_path / "control")
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen()
        server.settimeout(10)

        def serve() -> None:
            with server, server.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(answer)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return path

    yield start
    for thread in threads:
        thread.join(10)


GARBAGE = [b"garbage\n", b"[]\n", b"null\n", b"\xff\xfe\n", b'{"ok":' * 100_000 + b"\n", b"9" * 5000 + b"\n"]


@pytest.mark.parametrize("answer", GARBAGE)
def test_what_is_no_answer_of_a_master_is_said_to_be_none(listener: Listener, answer: bytes) -> None:
    with pytest.raises(ControlError, match=r"what answers on .*/control is no master of pyfpm: "):
        ask(listener(answer), {"command": "status"})


@pytest.mark.parametrize("answer", GARBAGE)
def test_no_outcome_either(listener: Listener, answer: bytes) -> None:
    with pytest.raises(ControlError, match="is no master of pyfpm"):
        follow(listener(answer), {"command": "reload"}, lambda message: None)


@pytest.mark.parametrize("answer", [b'{"ok": true}\n', b'{"ok": true, "pools": 5, "snapshot": 5}\n'])
def test_an_answer_that_lacks_something_is_of_another_version(
    listener: Listener, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = listener(answer)
    with pytest.raises(ControlError, match="it may be a different version"):
        fetch_snapshot(path, workers=False)
    Path(path).unlink()
    path = listener(answer)
    monkeypatch.setattr(Options, "control_path", lambda self: path)
    with pytest.raises(ControlError, match="it may be a different version"):
        Options().resolve("www")
