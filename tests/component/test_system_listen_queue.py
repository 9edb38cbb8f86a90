"""Listen queues, with real connections that wait."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest

from fpm.scoreboard.snapshot import ListenQueue
from fpm.system.listen_queue import UNKNOWN, ListenQueueReader, pack_unix_request, read_listen_queue, unpack_unix_reply
from tests.support.waiting import wait_until


@pytest.fixture(scope="module", autouse=True)
def reader(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The reader that this process keeps is open before a test counts descriptors."""
    with listening("unix", tmp_path_factory.mktemp("reader"), 1) as server:
        read_listen_queue(server.fileno())


def listening(kind: str, directory: Path, backlog: int) -> socket.socket:
    if kind == "unix":
        made = socket.socket(socket.AF_UNIX)
        made.bind(str(directory / "s"))
    else:
        made = socket.socket(socket.AF_INET6 if kind == "tcp6" else socket.AF_INET)
        made.bind(("::1" if kind == "tcp6" else "127.0.0.1", 0))
    made.listen(backlog)
    return made


@pytest.mark.parametrize("kind", ["unix", "tcp", "tcp6"])
def test_waiting_connections_are_counted(kind: str, tmp_path: Path) -> None:
    with listening(kind, tmp_path, 7) as server:
        assert read_listen_queue(server.fileno()) == ListenQueue(0, 7)
        clients = [socket.create_connection(server.getsockname()[:2]) if kind != "unix" else None for _ in range(3)]
        for index, client in enumerate(clients):
            if client is None:
                clients[index] = connected = socket.socket(socket.AF_UNIX)
                connected.connect(server.getsockname())
        # By TCP a client is connected a moment before the server's side of it is.
        wait_until(lambda: read_listen_queue(server.fileno()) == ListenQueue(3, 7))
        server.accept()[0].close()
        assert read_listen_queue(server.fileno()) == ListenQueue(2, 7)
        for client in clients:
            assert client is not None
            client.close()


def test_a_full_queue_does_not_block_the_question(tmp_path: Path) -> None:
    with listening("unix", tmp_path, 0) as server:
        client = socket.socket(socket.AF_UNIX)
        client.connect(server.getsockname())
        assert read_listen_queue(server.fileno()) == ListenQueue(1, 0)
        client.close()


def test_one_reader_for_many_sockets_and_after_a_fork(tmp_path: Path) -> None:
    reader = ListenQueueReader()
    with listening("unix", tmp_path, 5) as server:
        before = len(os.listdir("/proc/self/fd"))
        assert all(reader.read(server.fileno()) == ListenQueue(0, 5) for _ in range(50))
        assert len(os.listdir("/proc/self/fd")) == before + 1
        pid = os.fork()
        if not pid:
            os._exit(0 if reader.read(server.fileno()) == ListenQueue(0, 5) else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert reader.read(server.fileno()) == ListenQueue(0, 5)
    reader.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_what_is_no_listening_socket_is_unknown(tmp_path: Path) -> None:
    left, right = socket.socketpair()
    reader, writer = os.pipe()
    try:
        assert read_listen_queue(reader) == UNKNOWN
        assert read_listen_queue(-1) == UNKNOWN
        assert read_listen_queue(10**6) == UNKNOWN
        with socket.socket(socket.AF_INET) as plain:
            assert read_listen_queue(plain.fileno()) == UNKNOWN
        assert os.fstat(reader)
    finally:
        os.close(reader)
        os.close(writer)
        left.close()
        right.close()


def test_replies_to_other_questions_are_not_taken() -> None:
    reply = struct.pack("=IHHIIBBBBIII", 44, 20, 0, 9, 0, 1, 1, 10, 0, 77, 0, 0) + struct.pack("=HHII", 12, 4, 3, 7)
    assert unpack_unix_reply(reply, 77, 9) == ListenQueue(3, 7)
    assert unpack_unix_reply(reply, 77, 8) is None
    assert unpack_unix_reply(reply, 78, 9) == UNKNOWN
    assert unpack_unix_reply(reply[:-4], 77, 9) == UNKNOWN
    assert unpack_unix_reply(b"", 77, 9) is None
    assert len(pack_unix_request(77, 9)) == 40
