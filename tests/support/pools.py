"""What the tests of templates and workers ask of a running daemon, beyond tests.support.fpm."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.support import raw_fastcgi
from tests.support.fpm import Daemon
from tests.support.waiting import wait_until

JOIN_TIME = 90.0
LOWEST_PORT = 10_000
_ports = random.SystemRandom()
"""Processes of tests that begin with the same seed must not choose the same ones."""
_given: set[int] = set()


def write_app(fpm: Daemon, name: str, source: str) -> None:
    """A module `name` in the directory where the pools' applications are; written whole before it gets its name.

    It is newer by a second than the one before: bytecode, which an ordinary user's pool may write, is told apart by no
    less.
    """
    path = fpm.apps / f"{name}.py"
    new = path.with_suffix(".new")
    new.write_text(textwrap.dedent(source))
    new.chmod(0o644)
    if path.exists():
        newer = max(new.stat().st_mtime, path.stat().st_mtime + 1)
        os.utime(new, (newer, newer))
    new.rename(path)


def free_port() -> int:
    """A TCP port that nobody has at this moment, and that is not given out a second time.

    Nor does the kernel give it to anybody who wants just any port: others connect and listen until it is bound.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = _ports.randrange(LOWEST_PORT, max(first, 2 * LOWEST_PORT))
        with socket.socket() as probe, contextlib.suppress(OSError):
            if port not in _given:
                probe.bind(("", port))
                _given.add(port)
                return port


def echo(fpm: Daemon, pool: str, path: str = "/") -> dict[str, Any]:
    """What tests/apps/echo.py sees."""
    reply = fpm.get(pool, path)
    assert reply.status == 200, reply
    answer: dict[str, Any] = json.loads(reply.body)
    return answer


def facts(fpm: Daemon, pool: str) -> dict[str, Any]:
    """What `pyfpm status` is told by the master about one pool."""
    found: dict[str, Any] = fpm.ask("status", pool=pool)["pools"][0]
    return found


def numbers(fpm: Daemon, pool: str) -> dict[str, Any]:
    """The pool's status page, `json&full`."""
    return fpm.figures(pool)


def wait_numbers(fpm: Daemon, pool: str, *, timeout: float = 60.0, **wanted: int) -> dict[str, Any]:
    """Wait until the status page has these numbers (`idle_processes=2`), and return all of it."""
    names = {name.replace("_", " "): value for name, value in wanted.items()}
    return wait_until(
        lambda: (page := numbers(fpm, pool)) and all(page[name] == value for name, value in names.items()) and page,
        timeout=timeout,
        message=lambda: f"pool {pool} never has {names}; the log:\n{fpm.log()[-3000:]}",
    )


def wait_state(fpm: Daemon, pool: str, state: str, *, timeout: float = 60.0) -> dict[str, Any]:
    """Wait until the pool is in this state; its facts."""
    return wait_until(
        lambda: (found := facts(fpm, pool))["state"] == state and found,
        timeout=timeout,
        message=lambda: f"pool {pool} is never {state}; the log:\n{fpm.log()[-3000:]}",
    )


def together(count: int, call: Callable[[int], object], *, timeout: float = JOIN_TIME) -> tuple[list[Any], float]:
    """Call `call(0)` ... `call(count - 1)` at once in threads; results (or exceptions) in order, and the seconds."""
    results: list[Any] = [None] * count
    gate = threading.Barrier(count + 1)

    def run(number: int) -> None:
        gate.wait()
        try:
            results[number] = call(number)
        except (OSError, AssertionError, ValueError) as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    gate.wait()
    begin = time.monotonic()
    for thread in threads:
        thread.join(max(0.0, begin + timeout - time.monotonic()))
        assert not thread.is_alive(), f"a client got no answer within {timeout} s"
    return results, time.monotonic() - begin


class Clients:
    """Clients that ask one after the other until told to stop. `good` and `bad` collect what they got."""

    def __init__(self) -> None:
        self.good: list[bytes] = []
        self.bad: list[object] = []
        self.stopped = threading.Event()


@contextmanager
def clients(fpm: Daemon, pool: str, path: str = "/", *, query: str = "", count: int = 2) -> Iterator[Clients]:
    """Clients that loop over one request while the block runs."""
    found = Clients()

    def loop() -> None:
        while not found.stopped.is_set():
            try:
                reply = raw_fastcgi.get(fpm.address(pool), path, query=query)
            except OSError as error:
                found.bad.append(error)
                continue
            if reply.ended and reply.stdout and reply.status == 200:
                found.good.append(reply.body)
            else:
                found.bad.append(reply)

    threads = [threading.Thread(target=loop, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        found.stopped.set()
        for thread in threads:
            thread.join(JOIN_TIME)
    assert not any(thread.is_alive() for thread in threads), "a client hangs"


def end_resting(fpm: Daemon, pool: str) -> None:
    """Wait until an ondemand pool has no worker, and end its template, as it does by itself after a long rest."""
    wait_numbers(fpm, pool, total_processes=0)  # not only ended: their template has told how
    for template in fpm.processes(f"template {pool}"):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has rested long enough by itself
            template.terminate()
    wait_until(lambda: not fpm.processes(f"template {pool}"))
