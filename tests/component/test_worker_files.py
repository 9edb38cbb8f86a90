"""wsgi.file_wrapper in a real worker: whatever it is given, the client has what read() would have given it."""

from __future__ import annotations

import gzip
import json
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fpm.worker.plain_file import read_part
from tests.support import raw_fastcgi as raw
from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerPool

PAGE = 4096
FULL = 15 * PAGE
"""Bytes of a file in one record, where the kernel sends them."""
BY_KERNEL = ("buffered", "raw", "random", "temporary", "named", "named and used")
UPPER = ("own", "replaced", "around")


@pytest.fixture(scope="module")
def pool(served_by: str) -> Iterator[WorkerPool]:
    """One worker for all tests of the file: each of them must leave it able to serve the next."""
    with WorkerPool("files:application") as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    fill(path, 300_001)
    return path


def fill(path: Path, size: int) -> bytes:
    data = random.Random(size).randbytes(size + 5).hex().encode()[:size]
    path.write_bytes(data)
    return data


def ask(path: Path, **asked: Any) -> str:
    return quote(json.dumps({"path": str(path), **asked}))


def read_records(wire: raw.Wire) -> tuple[list[int], raw.Reply]:
    """The sizes of the records of STDOUT, and the answer; it may be cut off."""
    reply, sizes = raw.Reply(), []
    while (one := wire.read_record()) is not None:
        kind, _, content = one
        if kind == raw.STDOUT:
            reply.stdout += content
            sizes.append(len(content))
        if kind == raw.END:
            reply.ended = True
            break
    return sizes, reply


def get(pool: WorkerPool, path: Path, method: str = "GET", **asked: Any) -> tuple[list[int], raw.Reply]:
    with raw.Wire(pool.address) as wire:
        wire.send(raw.request_bytes(raw.web_params("/", method=method, query=ask(path, **asked))))
        return read_records(wire)


@pytest.mark.parametrize("size", [0, 1, 32768, 32769, 65536, 300_001])
@pytest.mark.parametrize("kind", [*BY_KERNEL, "gzip", "memory", "pipe", "spooled", *UPPER])
def test_the_bytes_are_those_of_read(pool: WorkerPool, tmp_path: Path, kind: str, size: int) -> None:
    data = fill(tmp_path / "file", size)
    expected = data.upper() if kind in UPPER else data
    if kind == "gzip":
        (tmp_path / "file").write_bytes(gzip.compress(data, 1))
    elif kind == "pipe":
        expected = data[:60000]
    elif kind == "random":
        expected += b"and more"
    sizes, reply = get(pool, tmp_path / "file", kind=kind)
    assert (reply.body, reply.ended) == (expected, True)
    assert (FULL in sizes) == (kind in BY_KERNEL and size > FULL)


@pytest.mark.parametrize("kind", ["buffered", "raw", "memory"])
@pytest.mark.parametrize("where", [{"skip": 1}, {"skip": PAGE}, {"read": 10}, {"skip": 299_000}, {"skip": 400_000}])
@pytest.mark.parametrize("length", [None, 0, 5, 700, 40_000, 65_535, 131_072])
def test_from_its_position_up_to_content_length(
    pool: WorkerPool, file: Path, kind: str, where: dict[str, int], length: int | None
) -> None:
    start = where.get("skip", where.get("read", 0))
    expected = file.read_bytes()[start:][:length]
    before = pool.logged()
    _, reply = get(pool, file, kind=kind, **where, **({} if length is None else {"length": length}))
    is_whole = length is None or len(expected) == length
    assert reply.ended == is_whole
    if expected or is_whole:
        assert reply.body == expected
    if not is_whole:
        wait_until(lambda: "the body is shorter than its Content-Length" in pool.logged()[len(before) :])
    assert raw.get(pool.address, "/closed").status == 200, "the worker is done with the request before"
    assert (pool.logged() == before) == is_whole, "a part of a file is no mistake"


@pytest.mark.parametrize("block", [[], [1], [8192], [1_000_000]])
def test_a_size_of_blocks_is_for_those_who_read(pool: WorkerPool, tmp_path: Path, block: list[int]) -> None:
    data = fill(tmp_path / "file", 70_000)
    for kind in ("buffered", "memory"):
        sizes, reply = get(pool, tmp_path / "file", kind=kind, block=block)
        assert (reply.body, reply.ended) == (data, True)
        assert (FULL in sizes) == (kind == "buffered")


def test_what_was_written_before_goes_first(pool: WorkerPool, file: Path) -> None:
    assert get(pool, file, write="<<<")[1].body == b"<<<" + file.read_bytes()
    assert get(pool, file, write="<<<", length=70_003)[1].body == b"<<<" + file.read_bytes()[:70_000]


def test_blocks_that_a_middleware_hands_on(pool: WorkerPool, file: Path) -> None:
    sizes, reply = get(pool, file, hold=1)
    assert (reply.body, FULL in sizes) == (file.read_bytes(), False)


def test_a_text_file_is_refused(pool: WorkerPool, file: Path) -> None:
    _, reply = get(pool, file, kind="text")
    assert reply.status == 500
    assert "the body must be made of bytes, not str" in pool.logged()


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified")])
def test_without_a_body(pool: WorkerPool, file: Path, method: str, status: str) -> None:
    _, reply = get(pool, file, method, status=status, length=300_001)
    assert (reply.body, reply.ended) == (b"", True)


def test_it_is_closed_and_may_fail_to(pool: WorkerPool, file: Path) -> None:
    def closed() -> int:
        return int(raw.get(pool.address, "/closed").body)

    before = closed()
    get(pool, file)
    get(pool, file, "HEAD")
    assert closed() == before + 2
    assert get(pool, file, fail=True)[1].ended
    wait_until(lambda: "close() has failed" in pool.logged())
    with raw.Wire(pool.address) as wire:  # who goes away
        wire.send(raw.request_bytes(raw.web_params("/", query=ask(file))))
        assert wire.read_record() is not None
    assert closed() == before + 3


def test_work_after_it(pool: WorkerPool, file: Path) -> None:
    for asked in ({"finish": 1}, {"after": 1}):
        assert get(pool, file, **asked)[1].body == file.read_bytes()
    assert raw.get(pool.address, "/closed").status == 200


@pytest.mark.parametrize("shrunk", [0, PAGE, 50_000, 1_000_000])
def test_a_file_that_becomes_shorter_is_cut_off(pool: WorkerPool, tmp_path: Path, shrunk: int) -> None:
    data = fill(tmp_path / "file", 3_000_000)
    with raw.Wire(pool.address) as wire:
        wire.send(raw.request_bytes(raw.web_params("/", query=ask(tmp_path / "file", length=3_000_000))))
        first = wire.read_record()
        wait_until(pool.is_held_up, message="it does not wait for us")
        os.truncate(tmp_path / "file", shrunk)
        _, reply = read_records(wire)
    assert first is not None
    body = (first[2] + reply.stdout).partition(b"\r\n\r\n")[2]
    assert not reply.ended
    assert FULL < len(body) < 3_000_000
    # What the kernel has still to deliver is the file's own memory: it has cleared the page where the file ends now.
    assert data.startswith(body) or data[:shrunk] == body[:shrunk]
    assert all(sent in (0, ours) for sent, ours in zip(body, data, strict=False))
    wait_until(lambda: "the body is shorter than its Content-Length; the connection was cut off" in pool.logged())


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
@pytest.mark.parametrize("step", [777, 8192, 100_000])
def test_records_are_whole_for_a_peer_that_takes_little_at_once(tmp_path: Path, tcp: bool, step: int) -> None:
    data = fill(tmp_path / "file", 4_000_001)
    with WorkerPool("files:application", tcp=tcp) as pool, socket.socket(pool.listener.family) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.settimeout(60)
        peer.connect(pool.address)
        peer.sendall(raw.request_bytes(raw.web_params("/", query=ask(tmp_path / "file", length=4_000_001))))
        got = bytearray()
        while part := peer.recv(step):
            got += part
        body, at = bytearray(), 0
        while at < len(got):
            size = int.from_bytes(got[at + 4 : at + 6], "big")
            if got[at + 1] == raw.STDOUT:
                body += got[at + 8 : at + 8 + size]
            at += 8 + size + got[at + 6]
        assert at == len(got)
        assert body.partition(b"\r\n\r\n")[2] == data
        assert pool.logged() == ""


def test_who_takes_nothing_is_given_up(tmp_path: Path) -> None:
    fill(tmp_path / "file", 3_000_000)
    with WorkerPool("files:application", send_timeout=0.2) as pool, raw.Wire(pool.address) as wire:
        wire.send(raw.request_bytes(raw.web_params("/", query=ask(tmp_path / "file", length=3_000_000))))
        wait_until(lambda: "has taken nothing of the answer for 0.2 seconds (send_timeout)" in pool.logged())
        assert not read_records(wire)[1].ended


def test_a_record_that_was_promised_has_its_size(tmp_path: Path) -> None:
    data = fill(tmp_path / "file", 10_000)
    with (tmp_path / "file").open("rb") as file:
        assert read_part(file.fileno(), 2000, 3000) == (data[2000:5000], None)
        part, error = read_part(file.fileno(), 9000, 3000)
    assert (part, str(error)) == (data[9000:] + bytes(2000), "the file has become shorter while it was sent")
    with (tmp_path / "file").open("wb") as file:
        part, error = read_part(file.fileno(), 0, 10)
    assert (part, type(error)) == (bytes(10), OSError)


LARGE = 1 << 28
"""Bytes; a worker that kept one in a hundred of them would be noticed."""


@pytest.mark.parametrize("way", ["file", "blocks", "body"])
def test_what_is_large_does_not_grow_the_worker(tmp_path: Path, way: str) -> None:
    with (tmp_path / "file").open("wb") as sparse:
        sparse.truncate(LARGE)
    params = raw.web_params("/", query=ask(tmp_path / "file", kind="own" if way == "blocks" else "raw", length=LARGE))
    with WorkerPool("files:application") as pool, socket.socket(socket.AF_UNIX) as peer:
        fill(tmp_path / "warm", 200_000)
        assert get(pool, tmp_path / "warm", kind="own")[1].ended
        before = pool.worker.memory_peak()
        peer.settimeout(60)
        peer.connect(pool.address)
        if way == "body":
            params = raw.web_params("/body", method="POST", body=b"x")
            params["CONTENT_LENGTH"] = str(LARGE)
            block = raw.record(raw.STDIN, bytes(32768)) * 32
            peer.sendall(raw.begin() + raw.stream(raw.PARAMS, raw.pairs(params)))
            for _ in range(LARGE // (32 * 32768)):
                peer.sendall(block)
            peer.sendall(raw.record(raw.STDIN))
        else:
            peer.sendall(raw.request_bytes(params))
        buffer = bytearray(1 << 20)
        total, last = 0, b""
        while size := peer.recv_into(buffer):
            total, last = total + size, (last + bytes(buffer[:size][-200:]))[-200:]
        assert (b"%d" % LARGE in last) if way == "body" else total > LARGE
        assert last.endswith(raw.record(raw.END, bytes(8))), "it is whole"
        assert pool.worker.memory_peak() - before < 2 << 20
