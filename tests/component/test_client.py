"""The FastCGI client against peers that behave, and peers that do not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from fpm.client.exchange import Response, send_request
from fpm.client.records import TimeLimits
from fpm.client.request import request_params
from fpm.config.model import TcpAddress, UnixAddress
from fpm.errors import ClientError, ConnectFailed, PeerClosed, PeerGarbage, PeerRefused, PeerTimeout
from tests.support import raw_fastcgi
from tests.support.peer import end, out, peer, says, silent

HEAD = out(b"Content-Type: text/plain\r\n\r\n")
PARAMS = request_params("GET", "/")


def ask(path: str, *, limits: TimeLimits | None = None) -> Response:
    return send_request(UnixAddress(path), PARAMS, limits=limits)


def body_of(path: str) -> bytes:
    with ask(path) as response:
        return response.read()


def test_a_whole_answer() -> None:
    stderr = raw_fastcgi.record(raw_fastcgi.STDERR, b"a warning", padding=7)
    answer = out(b"Status: 201 Made\r\nX: 1\r\n") + stderr + out(b"\r\nfirst") + out(b"") + out(b" second") + end(7)
    with peer(says(answer)) as path, ask(path) as response:
        assert (response.head.status, response.head.reason, response.head.headers) == (201, "Made", (("X", "1"),))
        assert list(response) == [b"first", b" second"]
        assert (response.stderr, response.app_status) == (b"a warning", 7)


def test_any_fragmentation_is_the_same_answer() -> None:
    answer = HEAD + out(b"body") + end()
    with peer(says(*(answer[i : i + 1] for i in range(len(answer))))) as path:
        assert body_of(path) == b"body"


def test_the_body_is_sent_while_the_answer_comes() -> None:
    """A server that answers as it reads must not end in a deadlock of two full socket buffers."""
    megabyte, count = b"x" * 1_000_000, 8

    def script(connection: socket.socket) -> None:
        received = 0
        connection.sendall(HEAD)
        while received < count * len(megabyte):
            received += len(connection.recv(65536))
            connection.sendall(out(b"y" * 60000))
        connection.sendall(end())

    with peer(script) as path, send_request(UnixAddress(path), PARAMS, (megabyte for _ in range(count))) as response:
        assert len(response.read()) >= count * len(megabyte) // 65536 * 60000


def test_an_early_answer_is_enough() -> None:
    """The server refuses an upload and closes; what it said counts, not that the rest could not be sent."""

    def script(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(out(b"Status: 413 Too Large\r\n\r\nno") + end())

    with peer(script) as path, send_request(UnixAddress(path), PARAMS, (b"x" * 65536 for _ in range(500))) as response:
        assert (response.head.status, response.read()) == (413, b"no")


@pytest.mark.parametrize(
    ("bytes_", "error", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", PeerGarbage, "does not speak FastCGI 1, it sent b'HTTP"),
        (b"", PeerClosed, "closed the connection before the end"),
        (HEAD[:5], PeerClosed, "in the middle of a record"),
        (HEAD[:12], PeerClosed, "in the middle of a record"),
        (HEAD + out(b"half"), PeerClosed, "before the end of the response"),
        (end(), PeerGarbage, "without response headers: it sent nothing"),
        (out(b"no headers") + end(), PeerGarbage, "only b'no headers'"),
        (out(b"no headers\r\n\r\n") + end(), PeerGarbage, "malformed header line: 'no headers'"),
        (HEAD + raw_fastcgi.record(raw_fastcgi.END, b"abc"), PeerGarbage, "END_REQUEST record of 3 bytes"),
        (HEAD + raw_fastcgi.record(raw_fastcgi.STDOUT, b"x", request=2), PeerGarbage, "for request 2"),
        (HEAD + raw_fastcgi.record(99, b"x"), PeerGarbage, "record of type 99"),
        (end(0, raw_fastcgi.OVERLOADED), PeerRefused, "it is overloaded"),
        (end(0, raw_fastcgi.CANT_MPX_CONN), PeerRefused, "does not multiplex"),
        (end(0, raw_fastcgi.UNKNOWN_ROLE), PeerRefused, "not a responder"),
        (end(0, 9), PeerRefused, "protocol status 9"),
    ],
)
def test_bad_peers(bytes_: bytes, error: type[ClientError], words: str) -> None:
    with peer(says(bytes_)) as path, pytest.raises(error, match=words):
        body_of(path)


def test_endless_headers_end_early() -> None:
    def script(connection: socket.socket) -> None:
        for _ in range(10000):
            connection.sendall(out(b"X-Header: " + b"x" * 1000 + b"\r\n"))

    with peer(script) as path, pytest.raises(PeerGarbage, match="longer than 65536 bytes"):
        ask(path)


def test_a_silent_peer_is_left_after_the_idle_time() -> None:
    with peer(silent) as path, pytest.raises(PeerTimeout, match=r"sent nothing for 0\.05 s"):
        ask(path, limits=TimeLimits(idle=0.05))


def test_a_dribbling_peer_is_left_after_the_whole_time() -> None:
    def script(connection: socket.socket) -> None:
        connection.settimeout(0.01)
        while True:
            connection.sendall(out(b"X: 1\r\n"))
            try:
                if not connection.recv(65536):
                    return
            except TimeoutError:
                continue

    with peer(script) as path, pytest.raises(PeerTimeout):
        ask(path, limits=TimeLimits(idle=5, total=0.2))


def test_a_peer_that_takes_nothing_is_left_too() -> None:
    def script(connection: socket.socket) -> None:
        connection.recv(1, socket.MSG_PEEK)
        stop.recv(1)

    stop, release = socket.socketpair()
    with peer(script) as path, stop, release:
        with pytest.raises(PeerTimeout, match="neither sent nor received anything"):
            send_request(UnixAddress(path), PARAMS, (b"x" * 65536 for _ in range(500)), limits=TimeLimits(idle=0.05))
        release.send(b"x")


def test_nobody_there(tmp_path: object) -> None:
    with pytest.raises(ConnectFailed, match="No such file or directory"):
        ask(f"{tmp_path}/none.sock")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = TcpAddress("127.0.0.1", sock.getsockname()[1])
        with pytest.raises(ConnectFailed, match="cannot connect: Connection refused"):
            send_request(address, PARAMS)


def test_a_full_listen_queue_is_waited_for_and_then_reported(tmp_path: object) -> None:
    path = f"{tmp_path}/full.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        with pytest.raises(ConnectFailed, match=r"no answer for 0\.05 s"):
            ask(path, limits=TimeLimits(connect=0.05))


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_what_happens_inside_flup_is_not_hidden(error: BaseException) -> None:
    """flup's Record.read turns every exception into EOFError, Ctrl-C too."""

    def body() -> Iterator[bytes]:
        yield b"x"
        raise error

    with peer(silent) as path, pytest.raises(type(error)) as caught:
        send_request(UnixAddress(path), PARAMS, body())
    assert caught.value is error
