"""The status and ping pages of a pool, which the worker answers before the application sees the request."""

from __future__ import annotations

import select
import time
from ipaddress import ip_address, ip_network

from fpm.protocol.spec import FD_LISTEN, WorkerSettings
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.reading import read_board
from fpm.status.model import build_status
from fpm.status.pages import PING_CONTENT_TYPE, STATUS_HEADERS, Page, render_status
from fpm.system.listen_queue import ListenQueueReader
from fpm.wsgi.environ import Environ

PAUSE = 0.001


class OwnPages:
    """What pm.status_path and ping.path ask for.

    Attributes:
        paths: the paths that may be ours; `answer` decides.
    """

    def __init__(self, settings: WorkerSettings, board: Scoreboard, queue: ListenQueueReader | None = None) -> None:
        self._settings = settings
        self._board = board
        self._queue = queue or ListenQueueReader()
        self._allow = [ip_network(text, strict=False) for text in settings.pm_status_allow]
        self.paths = frozenset(path for path in (settings.pm_status_path, settings.ping_path) if path)

    def with_settings(self, settings: WorkerSettings) -> OwnPages:
        """The pages of the same pool by other settings."""
        return OwnPages(settings, self._board, self._queue)

    def answer(self, path: str, environ: Environ) -> bytes | None:
        """A whole CGI response; None if the client may not see it, and the application is to have the request.

        Like PHP-FPM's it has three header lines and neither Status nor Content-Length: some scrapers take the first
        number of the first line for the status, others skip just these lines.
        """
        if not self._is_allowed(environ.get("REMOTE_ADDR", "")):
            return None
        if path == self._settings.ping_path:
            content_type, body = PING_CONTENT_TYPE, self._settings.ping_response.encode()
        else:
            page = self._status(environ["QUERY_STRING"])
            content_type, body = page.content_type, page.body
        lines = [f"{name}: {value}\r\n" for name, value in (*STATUS_HEADERS, ("Content-type", content_type))]
        return "".join(lines).encode() + b"\r\n" + (b"" if environ["REQUEST_METHOD"] == "HEAD" else body)

    def _status(self, query_string: str) -> Page:
        settings = self._settings
        board = read_board(self._board.view, settings.slots, pause=_pause)
        queue = self._queue.read(FD_LISTEN)
        now = time.time()
        status = build_status(pool=settings.pool, pm=settings.pm, board=board, queue=queue, now=now)
        return render_status(status, query_string)

    def _is_allowed(self, address: str) -> bool:
        """By REMOTE_ADDR; without one it is not a web server that asks but somebody with access to the socket."""
        if not address:
            return True
        try:
            client = ip_address(address)
        except ValueError:  # "unix:" and the like say nothing about where the client is
            return False
        mapped = getattr(client, "ipv4_mapped", None)
        return any((mapped or client) in network for network in self._allow)


def _pause() -> None:
    select.select([], [], [], PAUSE)
