"""A real worker against raw bytes: FastCGI as web servers speak it, and as nobody should."""

from __future__ import annotations

import contextlib
import json
import random
import select
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.support import raw_fastcgi as raw
from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerPool


@pytest.fixture(scope="module")
def pool(served_by: str) -> Iterator[WorkerPool]:
    """One worker for all tests of the file: each of them must leave it able to serve the next."""
    with WorkerPool("protocol:application") as made:
        yield made
        assert raw.get(made.address, "/ignore").status == 200


@pytest.fixture(scope="module", autouse=True)
def dropped(served_by: str) -> Iterator[Future[None]]:
    """Connections without a request: that they are dropped takes ten seconds, in which the other tests run."""
    with WorkerPool("protocol:application") as own, ExitStack() as open_ones:
        silent, half, slow = (open_ones.enter_context(raw.Wire(own.address)) for _ in range(3))
        half.send(raw.begin())
        slow.send(raw.begin() + raw.record(raw.PARAMS, bytes(1000))[:100])
        assert raw.get(own.address, "/ignore").status == 200
        waiting = [silent.socket, half.socket, slow.socket]
        assert not select.select(waiting, [], [], 0)[0], "nobody waited for them"
        with ThreadPoolExecutor(1) as thread:
            yield thread.submit(are_dropped, silent, half, slow)
            for one in waiting:  # whoever looks at them still need not wait for it
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


def are_dropped(silent: raw.Wire, half: raw.Wire, slow: raw.Wire) -> None:
    assert silent.at_end(), "dropped after 5 s"
    # A byte from time to time gains nothing: the whole head has its 10 seconds.
    wait_until(lambda: peer_closed(slow.socket), timeout=30, every=0.3, message="a slow head is waited for for ever")
    assert half.at_end(), "dropped after 10 s"


def seen(reply: raw.Reply) -> dict:
    assert reply.ended
    assert reply.protocol_status == raw.COMPLETE
    return json.loads(reply.body)


def send(pool: WorkerPool, *parts: bytes, request: int = 1) -> raw.Reply:
    with raw.Wire(pool.address) as wire:
        for part in parts:
            wire.send(part)
        reply = wire.read_reply(request)
        assert wire.at_end()
        return reply


def test_a_request_in_one_buffer_and_the_connection_is_closed(pool):
    answer = seen(send(pool, raw.request_bytes(raw.web_params("/a b"))))
    assert answer["environ"]["PATH_INFO"] == "/a b"


def test_one_byte_at_a_time(pool):
    data = raw.request_bytes(raw.web_params("/slow", method="POST", body=b"body"), b"body")
    assert seen(send(pool, *(data[at : at + 1] for at in range(len(data)))))["body"] == "body"


def test_cgi_fcgi_splits_pairs_anywhere(pool):
    params = {**raw.web_params("/big"), "HTTP_BIG": "b" * 100_000}
    data = raw.begin() + raw.stream(raw.PARAMS, raw.pairs(params), size=8184) + raw.record(raw.STDIN)
    assert seen(send(pool, data))["environ"]["HTTP_BIG"] == "b" * 100_000


def test_h2o_splits_a_pair_at_65535(pool):
    params = {**raw.web_params("/big"), "HTTP_BIG": "b" * 100_000}
    assert seen(send(pool, raw.request_bytes(params)))["environ"]["HTTP_BIG"] == "b" * 100_000


@pytest.mark.parametrize("length", ["", None, "-1", "5"])
def test_content_length_empty_absent_or_minus_one(pool, length):
    params = {**raw.web_params("/x", method="POST"), "CONTENT_LENGTH": length}
    if length is None:
        del params["CONTENT_LENGTH"]
    answer = seen(send(pool, raw.request_bytes(params, b"12345")))
    assert answer["body"] == "12345"
    assert answer["environ"].get("CONTENT_LENGTH") == ("5" if length == "5" else None)
    assert answer["environ"]["wsgi.input_terminated"] is True


def test_repeated_names_dropped_headers_and_proxy_prefix(pool):
    pairs = [
        *raw.web_params("/x").items(),
        ("HTTP_X_DUP", "one"),
        ("HTTP_X_DUP", "two"),
        ("HTTP_PROXY", "http://evil"),
        ("HTTP_TRANSFER_ENCODING", "chunked"),
        ("SCRIPT_FILENAME", "proxy:fcgi://localhost/srv/x.py"),
    ]
    environ = seen(send(pool, raw.request_bytes(pairs)))["environ"]
    assert environ["HTTP_X_DUP"] == "one, two"
    assert "HTTP_PROXY" not in environ
    assert "HTTP_TRANSFER_ENCODING" not in environ
    assert environ["SCRIPT_FILENAME"] == "/srv/x.py"
    assert environ["SERVER_NAME"] == "localhost"


def test_request_id_zero(pool):
    assert seen(send(pool, raw.request_bytes(raw.web_params("/x"), request=0), request=0))


def test_no_end_of_stdin_like_telegraf(pool):
    params = {**raw.web_params("/ignore"), "CONTENT_LENGTH": "0"}
    data = raw.begin() + raw.stream(raw.PARAMS, raw.pairs(params)) + raw.record(raw.STDIN, b"/status")
    assert send(pool, data).body == b"did not look at the body"


def test_no_end_of_stdin_after_content_length_bytes(pool):
    params = raw.web_params("/exact", method="POST", body=b"12345")
    data = raw.begin() + raw.stream(raw.PARAMS, raw.pairs(params)) + raw.record(raw.STDIN, b"12345")
    assert send(pool, data).body == b"12345"


def test_an_empty_data_record_after_stdin_like_flup(pool):
    data = raw.request_bytes(raw.web_params("/x")) + raw.record(raw.DATA)
    assert seen(send(pool, data))
    assert seen(send(pool, *(data[at : at + 8] for at in range(0, len(data), 8))))


def test_padding(pool):
    data = raw.begin() + raw.record(raw.PARAMS, raw.pairs(raw.web_params("/x")), padding=255)
    data += raw.record(raw.PARAMS, padding=7) + raw.record(raw.STDIN, b"body", padding=1) + raw.record(raw.STDIN)
    assert seen(send(pool, data))["body"] == "body"


def test_get_values_then_a_request_on_the_same_connection(pool):
    asked = raw.pairs({"FCGI_MAX_CONNS": "", "FCGI_MAX_REQS": "", "FCGI_MPXS_CONNS": "", "OTHER": ""})
    with raw.Wire(pool.address) as wire:
        wire.send(raw.record(raw.GET_VALUES, asked, request=0))
        kind, number, content = wire.read_record()
        assert (kind, number) == (raw.GET_VALUES_RESULT, 0)
        assert dict(raw.unpairs(content)) == {"FCGI_MAX_CONNS": "4", "FCGI_MAX_REQS": "4", "FCGI_MPXS_CONNS": "0"}
        wire.send(raw.request_bytes(raw.web_params("/x")))
        assert seen(wire.read_reply())


def test_unknown_type(pool):
    with raw.Wire(pool.address) as wire:
        wire.send(raw.record(42, b"what", request=0))
        assert wire.read_record() == (raw.UNKNOWN_TYPE, 0, b"\x2a" + bytes(7))


@pytest.mark.parametrize("role", [raw.AUTHORIZER, raw.FILTER, 99])
def test_unknown_role(pool, role):
    data = raw.begin(role=role) + raw.request_bytes(raw.web_params("/x"))[16:]
    assert send(pool, data).protocol_status == raw.UNKNOWN_ROLE


def test_unknown_role_on_a_kept_connection(pool):
    data = raw.request_bytes(raw.web_params("/x"))[16:]
    with raw.Wire(pool.address) as wire:
        wire.send(raw.begin(role=raw.FILTER, flags=raw.KEEP_CONN) + data)
        assert wire.read_reply().protocol_status == raw.UNKNOWN_ROLE
        wire.send(raw.begin() + data)
        assert seen(wire.read_reply())


def cant_mpx(reply: raw.Reply) -> bool:
    return (raw.END, 2, struct.pack(">IB3x", 0, raw.CANT_MPX_CONN)) in reply.others


@pytest.mark.parametrize("way", ["one buffer", "while the first runs", "with bodies"])
def test_the_next_request_comes_before_the_first_is_answered(pool, way):
    """As HAProxy sends it on a kept connection."""
    body = b"body" if way == "with bodies" else b""
    requests = []
    for number in range(1, 5):
        params = raw.web_params("/sleep" if number == 1 else f"/{number}", query="0.2", method="POST", body=body)
        requests.append(raw.request_bytes(params, body, flags=raw.KEEP_CONN, request=number))
    with raw.Wire(pool.address) as wire:
        if way == "while the first runs":
            wire.send(requests.pop(0))
        wire.send(b"".join(requests))
        assert wire.read_reply().body == b"slept"
        for number in range(2, 5):
            reply = wire.read_reply(number)
            assert (seen(reply)["environ"]["PATH_INFO"], seen(reply)["body"]) == (f"/{number}", body.decode())
            assert reply.others == []


def test_a_second_request_while_the_first_still_comes(pool):
    params = raw.web_params("/x", method="POST", body=b"12345")
    with raw.Wire(pool.address) as wire:
        wire.send(raw.begin(flags=raw.KEEP_CONN) + raw.stream(raw.PARAMS, raw.pairs(params)))
        wire.send(raw.request_bytes(raw.web_params("/y"), request=2) + raw.stream(raw.STDIN, b"12345"))
        reply = wire.read_reply()
        assert cant_mpx(reply)
        assert seen(reply)["body"] == "12345"


def test_abort_while_the_body_comes(pool):
    params = raw.web_params("/x", method="POST", body=b"12345")
    with raw.Wire(pool.address) as wire:
        wire.send(
            raw.begin(flags=raw.KEEP_CONN) + raw.stream(raw.PARAMS, raw.pairs(params)) + raw.record(raw.STDIN, b"1")
        )
        wire.send(raw.record(raw.ABORT))
        reply = wire.read_reply()
        assert reply.ended
        assert reply.stdout == b""
    assert "Traceback" not in pool.logged()


def test_abort_while_the_application_runs(pool):
    with raw.Wire(pool.address) as wire:
        wire.send(raw.request_bytes(raw.web_params("/sleep", query="0.2"), flags=raw.KEEP_CONN) + raw.record(raw.ABORT))
        assert wire.read_reply().ended
        wire.send(raw.request_bytes(raw.web_params("/x")))
        assert seen(wire.read_reply())


def test_many_aborted_requests_in_one_buffer(pool):
    one = raw.begin(flags=raw.KEEP_CONN) + raw.stream(raw.PARAMS, raw.pairs({"A": "b"})) + raw.record(raw.ABORT)
    with raw.Wire(pool.address) as wire:
        wire.send(one * 1500 + raw.request_bytes(raw.web_params("/x")))
        for _ in range(1500):
            assert wire.read_reply().ended
        assert seen(wire.read_reply())


def test_early_answer_without_reading_the_body(pool):
    params = raw.web_params("/ignore", method="POST", body=bytes(5_000_000))
    reply = raw.exchange(pool.address, params, b"")
    assert reply.body == b"did not look at the body"
    with raw.Wire(pool.address) as wire:
        wire.send(
            raw.begin() + raw.stream(raw.PARAMS, raw.pairs(params)) + raw.stream(raw.STDIN, bytes(100_000), end=False)
        )
        assert wire.read_reply().body == b"did not look at the body"
        assert wire.at_end()


@pytest.mark.parametrize("size", [0, 1, 65400, 65535, 65536, 1_000_000, 20_000_000])
def test_answers_of_all_sizes(pool, size):
    reply = raw.get(pool.address, "/large", query=str(size))
    assert len(reply.body) == size
    assert reply.headers["content-length"] == str(size)


def test_keep_conn_serves_many_requests(pool):
    with raw.Wire(pool.address) as wire:
        for number in range(50):
            body = b"b" * (number % 3)
            params = raw.web_params(f"/{number}", method="POST", body=body)
            wire.send(raw.request_bytes(params, body, flags=raw.KEEP_CONN))
            answer = seen(wire.read_reply())
            assert answer["environ"]["PATH_INFO"] == f"/{number}"
            assert answer["body"] == body.decode()


MALFORMED = {
    "version": raw.record(raw.BEGIN, bytes(8), version=2),
    "begin too short": raw.record(raw.BEGIN, b"x"),
    "begin twice": raw.begin() + raw.begin(),
    "pair beyond the stream": raw.begin() + raw.stream(raw.PARAMS, b"\x05\x7fNAME"),
    "pair beyond the stream, short way": raw.begin() + raw.stream(raw.PARAMS, b"\x05\x7fNAME") + raw.record(raw.STDIN),
    "lengths cut": raw.begin() + raw.stream(raw.PARAMS, b"\xff\xff"),
    "four gigabytes": raw.begin() + raw.stream(raw.PARAMS, b"\xff\xff\xff\xff\xff\xff\xff\xffA"),
    "too many params": raw.begin() + raw.stream(raw.PARAMS, bytes(1_200_000)),
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_streams_close_the_connection_with_one_log_line(pool, name):
    before = len(pool.worker.receive_all())
    with raw.Wire(pool.address) as wire:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            wire.send(MALFORMED[name])
        assert wire.at_end()
    assert raw.get(pool.address, "/ignore").status == 200
    lines = pool.worker.receive_all()[before:]
    assert len(lines) == 1, lines
    assert "FastCGI protocol error" in lines[0].text


def test_fuzz(pool):
    """Random streams, whole requests with flipped bytes, requests cut anywhere: the worker serves on."""
    chance = random.Random(20251)
    good = raw.request_bytes(raw.web_params("/ignore", method="POST", body=b"b" * 50), b"b" * 50)
    for turn in range(300):
        if turn % 3 == 0:
            data = chance.randbytes(chance.randrange(1, 400))
        elif turn % 3 == 1:
            changed = bytearray(good)
            for _ in range(chance.randrange(1, 6)):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            data = bytes(changed)
        else:
            data = good[: chance.randrange(len(good))]
        with raw.Wire(pool.address) as wire:
            wire.send(data)
            wire.socket.shutdown(socket.SHUT_WR)
            if turn % 2:
                wire.socket.settimeout(60)
                while wire.socket.recv(65536):
                    pass
    assert raw.get(pool.address, "/ignore").status == 200
    assert pool.worker.process.poll() is None
    assert "Traceback" not in pool.logged()
    assert pool.worker.output() == ""


def test_ten_thousand_params(pool):
    params = {**raw.web_params("/x"), **{f"HTTP_X_{number}": "v" for number in range(10_000)}}
    assert len(seen(send(pool, raw.request_bytes(params)))["environ"]) > 10_000


def test_a_client_that_goes_away_while_the_answer_comes(pool):
    for path in ("/endless", "/swallow"):
        with raw.Wire(pool.address) as wire:
            wire.send(raw.request_bytes(raw.web_params(path)))
            assert wire.read_record() is not None
        assert raw.get(pool.address, "/ignore").status == 200
    assert "Traceback" not in pool.logged()


@pytest.mark.parametrize("path", ["/x", "/unreadable"])
def test_a_client_that_goes_away_in_the_middle_of_its_body(pool, path):
    params = raw.web_params(path, method="POST", body=bytes(1000))
    with raw.Wire(pool.address) as wire:
        wire.send(raw.begin() + raw.stream(raw.PARAMS, raw.pairs(params)) + raw.record(raw.STDIN, b"some"))
    assert raw.get(pool.address, "/ignore").status == 200
    assert "Traceback" not in pool.logged()


def test_a_half_sent_head_survives_other_requests(pool):
    data = raw.request_bytes(raw.web_params("/x"))
    with raw.Wire(pool.address) as wire:
        wire.send(data[:100])
        for _ in range(3):
            assert raw.get(pool.address, "/ignore").status == 200
        wire.send(data[100:])
        assert seen(wire.read_reply())["environ"]["PATH_INFO"] == "/x"


def test_a_peer_that_never_closes_does_not_hold_the_worker(pool):
    """Half-close: it reads the end at once; and others are served while it does nothing."""
    body = b"b" * 10
    with raw.Wire(pool.address) as wire:
        wire.send(raw.request_bytes(raw.web_params("/x", method="POST", body=body), body))
        assert wire.read_reply().ended
        assert wire.at_end()
        served = 0
        while not peer_closed(wire.socket):
            assert raw.get(pool.address, "/ignore").status == 200
            served += 1
        assert served > 1, "the next one waited for the end of the lingering"


def test_a_silent_connection_occupies_nobody_and_is_dropped(dropped: Future[None]) -> None:
    dropped.result(60)


def peer_closed(sock: socket.socket) -> bool:
    try:
        sock.send(b"x")
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False
