"""Requests held by an event, not by seconds: the application goes on when the file `hold` has left its directory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from tests.support import raw_fastcgi
from tests.support.fpm import Daemon

HOLD = "/?hold"
"""The path and query that the applications `slow` and those of `reloads.write_version` know."""
REPLY_TIME = 60.0


@contextmanager
def holding(fpm: Daemon, *paths: str, pool: str = "www") -> Iterator[list[Future[raw_fastcgi.Reply]]]:
    """Have a worker busy with each path, in order, until the block ends or `release` is called."""
    (fpm.apps / "hold").touch()
    with ThreadPoolExecutor(len(paths)) as clients:
        futures = []
        try:
            for count, path in enumerate(paths, 1):
                name, _, query = path.partition("?")
                futures.append(clients.submit(fpm.get, pool, name, query=query, timeout=REPLY_TIME))
                fpm.wait_active(pool, count)
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


def release(fpm: Daemon) -> None:
    """Let all held requests go on."""
    (fpm.apps / "hold").unlink(missing_ok=True)
