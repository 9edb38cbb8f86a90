"""A real worker and the bytes of bodies: where they end, records filled to the last byte, clients that leave early."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support import raw_fastcgi as raw
from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerPool

LINGERING = 2.0
"""Seconds that a worker reads on after it has answered a request whose body has not come."""
SMALL = 65536
"""Bytes for the kernel to keep: what is more has to be read before all can be sent."""
RECORD_MAX = 65535


@pytest.fixture(scope="module")
def pool(served_by: str) -> Iterator[WorkerPool]:
    """One worker for all tests of the file: each of them must leave it able to serve the next."""
    with WorkerPool("protocol:application") as made:
        yield made
        assert raw.get(made.address, "/ignore").status == 200


# --- the request's body ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [[b"12345678"], [b"", b"12345678"], [b"123", b"45678"]], ids=lambda parts: len(parts))
def test_nothing_is_read_beyond_content_length(pool: WorkerPool, parts: list[bytes]) -> None:
    params = raw.web_params("/x", method="POST", body=b"12345")
    with raw.Wire(pool.address) as wire:
        wire.send(raw.begin() + raw.stream(raw.PARAMS, raw.pairs(params)) + raw.stream(raw.STDIN, parts[0], end=False))
        for part in parts[1:]:
            wait_until(pool.is_reading_body, message="the worker does not wait for the body")
            wire.send(raw.stream(raw.STDIN, part, end=False))
        assert json.loads(wire.read_reply().body)["body"] == "12345"


def test_an_application_that_answers_first_and_reads_then(pool: WorkerPool) -> None:
    params = raw.web_params("/answer_first", method="POST", body=b"x" * 100_000)
    with raw.Wire(pool.address) as wire:
        wire.send(raw.begin() + raw.stream(raw.PARAMS, raw.pairs(params)) + raw.stream(raw.STDIN, b"x" * 99_999)[:-8])
        record = wire.read_record()
        assert record is not None
        assert record[2].endswith(b"ok")
        wire.send(raw.stream(raw.STDIN, b"x"))
        assert wire.read_reply().ended
    wait_until(lambda: "read 100000 bytes" in pool.worker.output())


@pytest.mark.parametrize("way", ["write", "return"])
def test_an_application_that_goes_on_after_an_abort_sends_nothing(pool: WorkerPool, way: str) -> None:
    params = raw.web_params("/deaf", method="POST", query=way, body=b"12345")
    head = raw.begin(flags=raw.KEEP_CONN) + raw.stream(raw.PARAMS, raw.pairs(params)) + raw.record(raw.STDIN, b"1")
    with raw.Wire(pool.address) as wire:
        wire.send(head + raw.record(raw.ABORT))
        reply = wire.read_reply()
        assert (reply.stdout, reply.ended) == (b"", True)
        wire.send(raw.request_bytes(raw.web_params("/ignore"), flags=raw.KEEP_CONN))
        assert wire.read_reply().body == b"did not look at the body"


def answer_early(pool: WorkerPool) -> OSError | None:
    """Send more than buffers hold to somebody who has answered already; the error of sending it, if there is one."""
    size = 16 << 20
    params = raw.web_params("/ignore", method="POST", body=bytes(size))
    with raw.Wire(pool.address) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        wire.send(raw.begin() + raw.stream(raw.PARAMS, raw.pairs(params)) + raw.record(raw.STDIN, b"first"))
        reply = wire.read_reply()
        assert (reply.body, reply.ended) == (b"did not look at the body", True)
        block = raw.record(raw.STDIN, bytes(16384))
        try:
            for _ in range(size // 16384):
                wire.send(block)
            wire.send(raw.record(raw.STDIN))
        except OSError as error:
            return error
    return None


def test_who_has_answered_early_reads_on_so_that_the_peer_is_not_reset() -> None:
    with WorkerPool("protocol:application", tcp=True) as pool:
        pool.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        for _ in range(5):
            begun = time.monotonic()
            error = answer_early(pool)
            if error is None or time.monotonic() - begun < LINGERING:
                break  # else this machine is so busy that the worker could have stopped reading
        assert error is None


@pytest.mark.parametrize("sent", [b"", b"the first part"])
def test_a_body_that_nobody_reads_is_read_to_its_end_on_a_kept_connection(pool: WorkerPool, sent: bytes) -> None:
    """The answer does not wait for it, END_REQUEST does: h2o 2.2 dies of one that comes before the body is sent."""
    body = sent + b"x" * 3_000_000
    params = raw.web_params("/ignore", method="POST", body=body)
    head = raw.begin(flags=raw.KEEP_CONN) + raw.stream(raw.PARAMS, raw.pairs(params))
    rest = raw.stream(raw.STDIN, body[len(sent) :])
    with raw.Wire(pool.address) as wire:
        wire.send(head + raw.stream(raw.STDIN, sent, end=False))
        answer = wire.read_record()
        assert answer is not None
        assert answer[2].endswith(b"did not look at the body")
        wire.send(rest[:-1000])
        wire.send(rest[-1000:])
        reply = wire.read_reply()
        assert (reply.stdout, reply.ended) == (b"", True)
        wire.send(raw.request_bytes(raw.web_params("/ignore"), flags=raw.KEEP_CONN))
        assert wire.read_reply().body == b"did not look at the body"


def test_a_body_that_does_not_come_to_its_end_is_not_waited_for(pool: WorkerPool) -> None:
    params = raw.web_params("/ignore", method="POST", body=b"12345")
    with raw.Wire(pool.address) as wire:
        wire.send(raw.begin(flags=raw.KEEP_CONN) + raw.stream(raw.PARAMS, raw.pairs(params)))
        reply = wire.read_reply()
        assert (reply.body, reply.ended) == (b"did not look at the body", True)
        assert wire.at_end()


def test_who_sends_nothing_is_given_up() -> None:
    params = raw.web_params("/exact", method="POST", body=b"12345")
    with WorkerPool("protocol:application", read_timeout=0.2) as pool, raw.Wire(pool.address) as wire:
        wire.send(raw.begin() + raw.stream(raw.PARAMS, raw.pairs(params)) + raw.record(raw.STDIN, b"1"))
        said = "POST /exact: nothing of the request's body has come for 0.2 seconds (read_timeout); the connection is"
        wait_until(lambda: said in pool.logged())
        assert wire.read_record() is None


# --- the answer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [0, raw.KEEP_CONN], ids=["close", "keep"])
@pytest.mark.parametrize("number", [1, 2], ids=["request 1", "request 2"])
@pytest.mark.parametrize("records", [1, 2])
def test_answers_that_fill_their_records(pool: WorkerPool, flags: int, number: int, records: int) -> None:
    """Head and body make records of exactly the largest size, one byte less and one byte more."""
    head = len(raw.get(pool.address, "/large", query="10000").stdout) - 10_000 + (records - 1)
    for size in (records * RECORD_MAX + offset for offset in (-1, 0, 1)):
        with raw.Wire(pool.address) as wire:
            params = raw.web_params("/large", query=str(size - head))
            wire.send(raw.request_bytes(params, flags=flags, request=number))
            reply = wire.read_reply(number)
            assert (len(reply.stdout), reply.ended, reply.others) == (size, True, [])
            assert reply.body == b"x" * (size - head)
            if flags:  # a byte too many would be taken for the next record
                wire.send(raw.request_bytes(raw.web_params("/ignore"), flags=flags))
                assert wire.read_reply().body == b"did not look at the body"
            else:
                assert wire.at_end()


@pytest.mark.parametrize("number", [1, 2], ids=["request 1", "request 2"])
@pytest.mark.parametrize("size", [RECORD_MAX - 1, RECORD_MAX, RECORD_MAX + 1, 2 * RECORD_MAX, 2 * RECORD_MAX + 1])
def test_pieces_that_fill_their_records(pool: WorkerPool, number: int, size: int) -> None:
    with raw.Wire(pool.address) as wire:
        wire.send(raw.request_bytes(raw.web_params("/pieces", query=str(size)), request=number))
        reply = wire.read_reply(number)
        assert (reply.body, reply.ended) == (b"head goes first" + b"p" * size, True)
        assert wire.at_end()


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_the_iterable_is_closed_when_the_client_has_gone_away(tcp: bool) -> None:
    with WorkerPool("protocol:application", tcp=tcp) as pool:
        for count in (b"1", b"2"):
            with raw.Wire(pool.address) as wire:
                wire.send(raw.request_bytes(raw.web_params("/closable"), flags=raw.KEEP_CONN))
                assert wire.read_record() is not None
            # The worker is the only one: it answers when it is done with the request that nobody wants.
            assert raw.get(pool.address, "/closed").body == count
        assert pool.logged() == ""


@pytest.mark.parametrize("flags", [0, raw.KEEP_CONN], ids=["close", "keep"])
@pytest.mark.parametrize(
    ("method", "path", "query", "body"),
    [
        ("HEAD", "/unending", "", b""),
        ("HEAD", "/unending/write", "", b""),
        ("GET", "/unending", "304", b""),
        ("GET", "/unending/write", "304", b""),
        ("GET", "/unending", "length", b"first"),
        ("GET", "/unending/write", "length", b"first"),
    ],
)
def test_an_answer_without_an_end_of_which_no_more_is_wanted(
    pool: WorkerPool, method: str, path: str, query: str, body: bytes, flags: int
) -> None:
    with raw.Wire(pool.address) as wire:
        wire.send(raw.request_bytes(raw.web_params(path, method=method, query=query), flags=flags))
        reply = wire.read_reply()
        assert (reply.status, reply.body, reply.ended) == (304 if query == "304" else 200, body, True)


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_an_answer_without_an_end_or_a_word_to_a_client_that_has_left(tcp: bool) -> None:
    with WorkerPool("protocol:application", tcp=tcp) as pool:
        for path in ("/unending", "/unending/write"):
            with raw.Wire(pool.address) as wire:
                wire.send(raw.request_bytes(raw.web_params(path, query="nothing")))
                assert wire.read_record() is not None
            assert raw.get(pool.address, "/ignore").status == 200, "the only worker has ended that request"
        # Who sends nothing more may read on.
        with raw.Wire(pool.address) as wire:
            wire.send(raw.request_bytes(raw.web_params("/unending", query="nothing")))
            wire.socket.shutdown(socket.SHUT_WR)
            assert wire.read_record() is not None
            wait_until(lambda: wire.read_record() == (raw.STDERR, 1, b""))
        assert pool.logged() == ""


def test_who_takes_nothing_is_given_up_and_what_it_has_is_no_whole_answer() -> None:
    with WorkerPool("protocol:application", send_timeout=0.2) as pool, raw.Wire(pool.address) as wire:
        wire.send(raw.request_bytes(raw.web_params("/endless")))
        said = "GET /endless: the web server has taken nothing of the answer for 0.2 seconds (send_timeout); the connec"
        wait_until(lambda: said in pool.logged())
        kinds = []
        header = b""
        while (part := wire.socket.recv(8 - len(header))) or header:
            assert part, "no end in the middle of a record"
            header += part
            if len(header) < 8:
                continue
            kinds.append(header[1])
            if kinds[-1] == raw.ABORT:
                break
            left = int.from_bytes(header[4:6], "big")
            while left:
                left -= len(wire.socket.recv(left))
            header = b""
        assert set(kinds[:-1]) == {raw.STDOUT}
        assert kinds[-1] == raw.ABORT, "what breaks the answer off"
        assert wire.socket.recv(1) == b""
