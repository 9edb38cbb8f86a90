"""Which connections a worker keeps, and how it says that it keeps one no longer."""

from __future__ import annotations

import pytest

from tests.support import raw_fastcgi as raw
from tests.support.processes import descriptors
from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerPool

END = b"\x01\x03\x00\x01\x00\x08\x00\x00" + bytes(8)
REFUSAL = b"\x01\x07\x00\x01\x00\x00\x00\x00"


def ask(software: str, path: str = "/ignore") -> bytes:
    params = {**raw.web_params(path, query="3"), "SERVER_SOFTWARE": software}
    return raw.request_bytes(params, flags=raw.KEEP_CONN)


def read_answer(wire: raw.Wire) -> bytes:
    """Read up to the end of an answer, and what has come with it."""
    data = b""
    while END not in data:
        more = wire.socket.recv(65536)
        assert more, data
        data += more
    return data


def test_one_that_nobody_waits_for_is_kept() -> None:
    with WorkerPool("protocol:application") as pool, raw.Wire(pool.address) as wire:
        for _ in range(3):
            wire.send(ask("nginx/1.22.1"))
            assert read_answer(wire).endswith(END)
        assert pool.logged() == ""


@pytest.mark.parametrize("path", ["/ignore", "/pieces"])
def test_while_another_waits_nginx_is_told_that_its_connection_is_not_kept(path: str) -> None:
    with WorkerPool("protocol:application") as pool, raw.Wire(pool.address) as first:
        first.send(ask("nginx/1.22.1"))
        read_answer(first)
        held = len(descriptors(pool.worker.pid))
        with raw.Wire(pool.address) as second:  # it has sent nothing yet
            wait_until(lambda: len(descriptors(pool.worker.pid)) > held)
            first.send(ask("nginx/1.22.1", path))
            assert read_answer(first).endswith(END + REFUSAL)
            assert first.at_end()
            second.send(ask("nginx/1.22.1"))
            assert read_answer(second).endswith(END)


def test_other_web_servers_do_not_know_that_word() -> None:
    with WorkerPool("protocol:application") as pool, raw.Wire(pool.address) as first, raw.Wire(pool.address) as second:
        for wire in (first, second, first, second):
            wire.send(ask("haproxy"))
            assert read_answer(wire).endswith(END)
