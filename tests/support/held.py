"""Requests held by an event, not by seconds: the application goes on when the file `hold` has left its directory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from tests.support import raw_fastcgi
from tests.support.fpm import Daemon
from tests.support.waiting import wait_until

HOLD = "/?hold"
"""The path and query that the applications `slow` and those of `reloads.write_version` know."""
REPLY_TIME = 60.0


@contextmanager
def holding(fpm: Daemon, *paths: str, pool: str = "www") -> Iterator[list[Future[raw_fastcgi.Reply]]]:
    """Have a worker busy with each path, in order, until the block ends or `release` is called."""
    (fpm.apps / "hold").touch()
    before = _begun(fpm, pool)
    with ThreadPoolExecutor(len(paths)) as clients:
        futures: list[Future[raw_fastcgi.Reply]] = []
        try:
            for path in paths:
                name, _, query = path.partition("?")
                futures.append(clients.submit(fpm.get, pool, name, query=query, timeout=REPLY_TIME))
                wait_until(lambda: len(_begun(fpm, pool) - before) + _answered(futures) >= len(futures))
            yield futures
        finally:
            release(fpm)


@contextmanager
def holding_at_once(fpm: Daemon, count: int, *, pool: str = "www") -> Iterator[list[Future[raw_fastcgi.Reply]]]:
    """Send so many requests at the same time; they are answered after the block."""
    (fpm.apps / "hold").touch()
    with ThreadPoolExecutor(count) as clients:
        try:
            yield [clients.submit(fpm.get, pool, query="hold", timeout=REPLY_TIME) for _ in range(count)]
        finally:
            release(fpm)


def _begun(fpm: Daemon, pool: str) -> set[tuple[int, int]]:
    """The requests in hand, each by its worker and that worker's count; a worker that starts is busy without one."""
    return {(one.pid, one.requests) for one in fpm.pool(pool).workers if one.state not in ("Idle", "Creating")}


def _answered(requests: Sequence[Future[raw_fastcgi.Reply]]) -> int:
    """Of those that end their worker, or whose work comes after the response."""
    return sum(one.done() for one in requests)


def release(fpm: Daemon) -> None:
    """Let all held requests go on."""
    (fpm.apps / "hold").unlink(missing_ok=True)
