"""A real worker that leaves: nothing that has come to it is lost, in whatever order it learns of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from fpm.protocol.messages import Quit
from tests.support import raw_fastcgi as raw
from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerPool, WorkerProcess

ROUNDS = 5
WORKING = """
import os
import time
import fpm

def wait_for(name):
    while not os.path.exists(name):
        time.sleep(0.01)

def application(environ, start_response):
    if environ["QUERY_STRING"]:
        fpm.after_response(wait_for, environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"answered"]
"""
"""Works after its response until the file in the query exists."""


def quit_finally(worker: WorkerProcess) -> None:
    """The pool ends: nobody will take what this worker leaves behind."""
    worker.command(Quit(final=True))


@contextmanager
def stopped(worker: WorkerProcess) -> Iterator[None]:
    """What comes to the worker during the block it finds all at once."""
    worker.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED)
    yield
    worker.process.send_signal(signal.SIGCONT)


@contextmanager
def shared_processor(worker: WorkerProcess) -> Iterator[None]:
    """Let the worker be woken by this process without running before it: on one processor, and as SCHED_BATCH it does
    not preempt who wakes it (sched(7))."""
    mine = os.sched_getaffinity(0)
    one = {min(mine)}
    os.sched_setscheduler(worker.pid, os.SCHED_BATCH, os.sched_param(0))
    for pid in (0, worker.pid):
        os.sched_setaffinity(pid, one)
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


@pytest.mark.parametrize("asked", [True, False], ids=["asked again", "idle"])
def test_a_request_on_a_kept_connection_and_the_end_of_the_pool_at_once(asked: bool) -> None:
    with WorkerPool("protocol:application") as pool, raw.Wire(pool.address) as wire:
        wire.send(raw.request_bytes(raw.web_params("/ignore"), flags=raw.KEEP_CONN))
        assert wire.read_reply().ended
        with stopped(pool.worker):
            if asked:
                wire.send(raw.request_bytes(raw.web_params("/ignore"), flags=raw.KEEP_CONN))
            quit_finally(pool.worker)
        assert wire.read_reply().ended == asked
        assert wire.at_end()
        assert pool.worker.process.wait(60) == 0


def test_a_request_that_comes_while_the_last_worker_works_after_its_last_response(tmp_path: Path) -> None:
    """The connection has been parked for others, but there are none any more."""
    (tmp_path / "working.py").write_text(WORKING)
    ask = raw.request_bytes(raw.web_params("/"), flags=raw.KEEP_CONN)
    work = raw.request_bytes(raw.web_params("/", query=str(tmp_path / "done")), flags=raw.KEEP_CONN)
    with WorkerPool("working:application", apps=tmp_path) as pool, raw.Wire(pool.address) as wire:
        wire.send(ask)
        assert wire.read_reply().body == b"answered"
        with stopped(pool.worker):
            wire.send(work)
            quit_finally(pool.worker)
        assert wire.read_reply().body == b"answered"
        wire.send(ask)
        (tmp_path / "done").touch()
        assert wire.read_reply().body == b"answered"
        assert wire.at_end()
        assert pool.worker.process.wait(60) == 0


def test_a_connection_that_has_woken_a_worker_which_is_told_to_quit() -> None:
    """EPOLLEXCLUSIVE wakes one worker. The message comes first then, and nobody else knows of the connection."""
    with WorkerPool("protocol:application", workers=1) as pool:
        leaving = pool.worker
        pool.start_worker()
        for _ in range(ROUNDS):
            with shared_processor(leaving):
                wire = raw.Wire(pool.address)
                leaving.command(Quit())
            with wire:
                wire.send(raw.request_bytes(raw.web_params("/ignore")))
                assert wire.read_reply().ended
            assert leaving.process.wait(60) == 0
            leaving = pool.workers[-1]  # the first in the kernel's list now
            pool.start_worker()
