"""The status and ping pages of a pool, which the worker answers before the application sees the request."""

from __future__ import annotations

import select
import time

from fpm.protocol.spec import FD_LISTEN, FD_PARK_TAKE
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.reading import read_board
from fpm.scoreboard.statistics import read_statistics
from fpm.status.model import build_status
from fpm.status.pages import PING_CONTENT_TYPE, STATUS_HEADERS, Page, render_status
from fpm.system.listen_queue import ListenQueueReader
from fpm.worker.settings import ActiveSettings, is_within
from fpm.wsgi.environ import Environ

PAUSE = 0.001


class StatusPages:
    """What pm.status_path and ping.path ask for."""

    def __init__(self, settings: ActiveSettings, board: Scoreboard) -> None:
        self._settings = settings
        self._board = board
        self._queue = ListenQueueReader()

    def answer(self, path: str, environ: Environ) -> bytes | None:
        """Make a whole CGI response; None if the client may not see it, and the application is to have the request.

        Like PHP-FPM's it has three header lines and neither Status nor Content-Length: some scrapers take the first
        number of the first line for the status, others skip just these lines.
        """
        if not self._is_allowed(environ.get("REMOTE_ADDR")):
            return None
        if path == self._settings.given.ping_path:
            content_type, body = PING_CONTENT_TYPE, self._settings.given.ping_response.encode()
        else:
            page = self._status(environ["QUERY_STRING"])
            content_type, body = page.content_type, page.body
        lines = [f"{name}: {value}\r\n" for name, value in (*STATUS_HEADERS, ("Content-type", content_type))]
        return "".join(lines).encode() + b"\r\n" + (b"" if environ["REQUEST_METHOD"] == "HEAD" else body)

    def _status(self, query_string: str) -> Page:
        settings = self._settings.given
        board = read_board(self._board.view, settings.slots, pause=_pause)
        queue = self._queue.read_with_parked(FD_LISTEN, FD_PARK_TAKE)
        now = time.time()
        statistics = read_statistics(self._board.sum_everything())
        status = build_status(
            pool=settings.pool, pm=settings.pm, board=board, queue=queue, now=now, statistics=statistics
        )
        return render_status(status, query_string)

    def _is_allowed(self, address: str | None) -> bool:
        """Decide by REMOTE_ADDR; without one it is no web server that asks but somebody with access to the socket.

        An empty one is a web server's that does not know, or does not say, who asks.
        """
        if address is None:
            return True
        try:
            return is_within(address, self._settings.status_allow)
        except ValueError:  # "unix:" and the like say nothing about where the client is
            return False


def _pause() -> None:
    select.select([], [], [], PAUSE)
