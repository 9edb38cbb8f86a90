"""A real worker and its applications: PEP 3333, failures, finish_request."""

from __future__ import annotations

import json

import pytest

from fpm.protocol.messages import LogText
from tests.support import raw_fastcgi as raw
from tests.support.odd_plans import quote_plan
from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerPool


def make_pool(**settings) -> WorkerPool:
    return WorkerPool("protocol:application", **settings)


# --- PEP 3333 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_wsgiref_validate_passes(method):
    body = b"body" if method in ("POST", "PUT", "PATCH") else b""
    with make_pool() as pool:
        for flags in (0, raw.KEEP_CONN):
            reply = raw.exchange(pool.address, raw.web_params("/valid", method=method, body=body), body, flags=flags)
            assert reply.status == 200, pool.logged()
            assert reply.body == (b"" if method == "HEAD" else b"valid " + body)
        assert pool.logged() == ""


def test_an_exception_before_the_headers():
    with make_pool() as pool:
        reply = raw.get(pool.address, "/fail", query="a=b")
        assert reply.status == 500
        assert b"secret" not in reply.stdout
        assert reply.ended
        [message] = [found for found in pool.worker.receive_all() if isinstance(found, LogText)]
        assert message.level == "error"
        lines = message.text.splitlines()
        assert (message.request, lines[0]) == ("GET /fail?a=b", "uncaught exception")
        assert lines[1] == "Traceback (most recent call last):"
        assert "protocol.py" in lines[2]
        assert lines[-1] == "RuntimeError: a secret for the log only"
        head = raw.exchange(pool.address, raw.web_params("/fail", method="HEAD"))
        assert (head.status, head.body) == (500, b"")


def test_control_characters_of_the_uri_cannot_forge_a_line():
    with make_pool() as pool:
        params = {**raw.web_params("/fail"), "QUERY_STRING": "\n[forged]\x1b[0m"}
        assert raw.exchange(pool.address, params).status == 500
        assert "\n[forged]" not in pool.logged()
        wait_until(lambda: r"\x0a[forged]\x1b[0m" in pool.logged())


def test_an_exception_after_the_headers_is_not_ended_as_if_all_were_well():
    with make_pool() as pool, raw.Wire(pool.address) as wire:
        wire.send(raw.request_bytes(raw.web_params("/fail-later"), flags=raw.KEEP_CONN))
        reply = wire.read_reply()
        assert reply.body == b"the first piece"
        assert not reply.ended
        wait_until(lambda: "after the headers" in pool.logged())


def test_sys_exit_ends_the_request_and_not_the_worker():
    with make_pool() as pool:
        assert raw.get(pool.address, "/exit").status == 500
        assert raw.get(pool.address, "/ignore").status == 200
        wait_until(lambda: "SystemExit: 3" in pool.logged())


def test_a_body_shorter_or_longer_than_its_content_length():
    with make_pool() as pool:
        short = raw.get(pool.address, "/short")
        assert (short.body, short.ended) == (b"only this", False)
        surplus = raw.get(pool.address, "/surplus")
        assert (surplus.body, surplus.ended) == (b"four", True)
        assert "GET /short: the body is shorter than its Content-Length" in pool.logged()
        wait_until(lambda: "GET /surplus: 9 bytes beyond the Content-Length were not sent" in pool.logged())


def test_what_close_writes_belongs_to_the_answer():
    start = ["start", "200 OK", ["list", ["tuple", "Content-Length", "7"]]]
    plan = {"do": [start], "return": ["closing", ["list", ["bytes", 3]], ["write", ["bytes", 4]]]}
    with WorkerPool("odd:application") as pool, raw.Wire(pool.address) as wire:
        for _ in range(2):
            wire.send(raw.request_bytes(raw.web_params("/", query=quote_plan(plan)), flags=raw.KEEP_CONN))
            reply = wire.read_reply()
            assert (reply.body, reply.ended) == (b"0120123", True)
        assert pool.logged() == ""


@pytest.mark.parametrize(
    "change", [["clear"], ["__setitem__", "REQUEST_METHOD", None], ["__setitem__", "QUERY_STRING", 5]]
)
@pytest.mark.parametrize("step", [["nothing"], ["raise", "ValueError"]])
def test_an_application_may_do_with_its_environ_what_it_likes(change, step, directory):
    plan = {"do": [["start", "200 OK", ["list"]], ["environ", *change], step], "return": ["generator", ["bytes", 3]]}
    with WorkerPool("odd:application", access_log=directory / "log", access_format="%m%q%u%l") as pool:
        for method in ("GET", "HEAD"):
            reply = raw.exchange(pool.address, raw.web_params("/", method=method, query=quote_plan(plan)))
            assert reply.ended
            assert bool(reply.body) == (method == "GET")
        wait_until(lambda: len((directory / "log").read_bytes().splitlines()) == 2)


def test_blocks_of_a_generator_go_out_as_they_are_made():
    with make_pool() as pool, raw.Wire(pool.address) as wire:
        (hold := pool.directory / "hold").touch()
        wire.send(raw.request_bytes(raw.web_params("/sleepy", query=str(hold))))
        assert wire.read_record()[2].endswith(b"first")
        hold.unlink()
        assert wire.read_record()[2] == b"second"


def test_back_pressure_bounds_the_memory_of_an_endless_answer():
    with make_pool() as pool, raw.Wire(pool.address) as wire:
        before = pool.worker.memory_peak()
        wire.send(raw.request_bytes(raw.web_params("/endless")))
        for _ in range(500):
            assert wire.read_record() is not None
        assert pool.worker.memory_peak() - before < 4 << 20


@pytest.mark.parametrize("path", ["/chunks", "/lines", "/part", "/nothing"])
@pytest.mark.parametrize("with_length", [True, False])
def test_an_upload_of_128_mib_does_not_grow_the_worker(path, with_length):
    size = 128 << 20
    params = raw.web_params(path, method="POST", body=b"x")
    params["CONTENT_LENGTH"] = str(size) if with_length else ""
    block = raw.record(raw.STDIN, (b"x" * 99 + b"\n") * 300)
    with WorkerPool("upload:application") as pool, raw.Wire(pool.address, timeout=60) as wire:
        assert raw.get(pool.address, "/all").status == 200
        before = pool.worker.memory_peak()
        wire.send(raw.begin() + raw.stream(raw.PARAMS, raw.pairs(params)))
        sent = 0
        try:
            while sent < size:
                wire.send(block)
                sent += 30_000
            wire.send(raw.record(raw.STDIN))
        except (BrokenPipeError, ConnectionResetError):
            assert path in ("/part", "/nothing")
        answer = json.loads(wire.read_reply().body)
        expected = {"/part": 10, "/nothing": 0}.get(path, size if with_length else sent)
        assert answer["seen"] == expected
        assert pool.worker.memory_peak() - before < 2 << 20


def test_a_body_of_unknown_length_can_be_spooled():
    with make_pool(request_body_spool=True) as pool:
        body = b"line\n" * 50_000
        params = {**raw.web_params("/x", method="POST"), "HTTP_TRANSFER_ENCODING": "chunked"}
        answer = json.loads(raw.exchange(pool.address, params, body).body)
        assert answer["environ"]["CONTENT_LENGTH"] == str(len(body))
        assert answer["body"] == body.decode()


def test_postfork_functions_have_run():
    with make_pool() as pool:
        assert raw.get(pool.address, "/hook").body == b"1"


# --- finish_request -------------------------------------------------------------------------------------------------


def test_finish_request_releases_the_web_server():
    with make_pool() as pool, raw.Wire(pool.address) as wire:
        (hold := pool.directory / "hold").touch()
        wire.send(raw.request_bytes(raw.web_params("/finish", query=str(hold))))
        reply = wire.read_reply()
        assert (reply.body, reply.ended) == (b"answer", True)
        assert wire.at_end(), "nginx waits for the end of the stream"
        hold.unlink()
        wait_until(lambda: "after the answer: True False" in pool.worker.output(), message="the code did not go on")


def test_finish_request_on_a_kept_connection_lets_another_worker_have_it():
    with make_pool(workers=2) as pool, raw.Wire(pool.address) as wire:
        (hold := pool.directory / "hold").touch()
        wire.send(raw.request_bytes(raw.web_params("/finish", query=str(hold)), flags=raw.KEEP_CONN))
        assert wire.read_reply().body == b"answer"
        wire.send(raw.request_bytes(raw.web_params("/ignore"), flags=raw.KEEP_CONN))
        assert wire.read_reply().body == b"did not look at the body"
        hold.unlink()


def test_an_exception_after_finish_request_is_logged():
    with make_pool() as pool:
        reply = raw.get(pool.address, "/finish-fail")
        assert (reply.body, reply.ended) == (b"answer", True)
        wait_until(lambda: "nobody sees this but the log" in pool.logged())
        assert raw.get(pool.address, "/ignore").status == 200
