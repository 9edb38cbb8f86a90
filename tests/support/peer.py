"""A scripted FastCGI server for the tests of our client: it says what the test tells it to, good or bad."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support import raw_fastcgi
from tests.support.directories import opened_directory

Script = Callable[[socket.socket], None]


@contextmanager
def peer(script: Script) -> Iterator[str]:
    """The path of a Unix socket where `script` has each connection, one after the other, in a thread."""
    with opened_directory() as directory, socket.socket(socket.AF_UNIX) as listener:
        path = str(directory / "peer.sock")
        listener.bind(path)
        listener.listen(8)
        thread = threading.Thread(target=_accept, args=(listener, script), daemon=True)
        thread.start()
        try:
            yield path
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(60)
            assert not thread.is_alive(), "the scripted peer hangs"


def _accept(listener: socket.socket, script: Script) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # the listener was shut down: the test is over
        with connection:
            connection.settimeout(60)
            try:
                script(connection)
            except (BrokenPipeError, ConnectionResetError):
                continue  # the client has seen enough


def says(*parts: bytes) -> Script:
    """A script that reads the head of the request, sends these bytes, and closes."""

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        for part in parts:
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    return script


def silent(connection: socket.socket) -> None:
    """Reads everything and says nothing until the client goes away."""
    while connection.recv(65536):
        pass


def end(app_status: int = 0, protocol_status: int = raw_fastcgi.COMPLETE) -> bytes:
    """END_REQUEST."""
    return raw_fastcgi.record(raw_fastcgi.END, struct.pack(">IB3x", app_status, protocol_status))


def out(data: bytes) -> bytes:
    """STDOUT, one record."""
    return raw_fastcgi.record(raw_fastcgi.STDOUT, data)
