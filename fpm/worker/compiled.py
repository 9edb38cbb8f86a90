"""What the compiled hot path (fpm/_hotpath.c) gets from a worker, and what it asks of it.

It serves the usual request whole: waiting, reading, environ, the application's call, the answer, the slot. All else it
gives back, before anything is done or in the middle of a request, and plain Python goes on from there.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from io import BytesIO
from types import ModuleType
from typing import Any, NamedTuple, Protocol

from fpm.library import current
from fpm.protocol.spec import FD_LISTEN, FD_PARK_TAKE, FD_WAKE
from fpm.worker.connection import Phase, WebConnection
from fpm.worker.request import Request
from fpm.worker.request_io import RequestIO
from fpm.worker.resumed import EndedRequest, ResumedRequest
from fpm.worker.service import Service
from fpm.wsgi.environ import Environ, complete_environ
from fpm.wsgi.head import format_head, known_fields, known_statuses

Event = tuple[int, int]
"""A descriptor and what has happened to it, as select.epoll.poll() gives them."""


class Sent(NamedTuple):
    """An answer that the hot path has sent, for the access log."""

    status: str
    head: str


class Handler(Protocol):
    """The plain side: fpm.worker.connection_handler.ConnectionHandler."""

    served: WebConnection | None

    def receive(self, connection: WebConnection, data: bytes) -> None:
        """Take bytes of a connection while no request is being served."""

    def finish(self, request: Request, *, has_work: bool) -> None:
        """Go on with a request whose response is out."""


class HotPath:
    """The compiled server of a worker.

    Args:
        module: fpm._hotpath.
        epoll: what the worker waits for.
    """

    def __init__(self, module: ModuleType, service: Service, handler: Handler, epoll: select.epoll) -> None:
        self._service = service
        self._handler = handler
        self._connections = service.connections
        parts = {
            "application": service.application,
            "constants": service.constants,
            "held": service.connections.held,
            "current": current,
            "fields": known_fields,
            "statuses": known_statuses,
            "format_head": format_head,
            "complete_environ": complete_environ,
            "accounting": service.accounting,
            "kept_phase": Phase.KEPT,
            "lingering_phase": Phase.LINGERING,
            "make_input": BytesIO,
            "ended": EndedRequest(),
            "hand_over": self._hand_over,
            "resume": self._resume,
            "send_rest": self._send_rest,
            "settle": self._settle,
            "take": self._take,
            "tell": self._tell,
            "route_table": None,
            "mount": None,
            "own_paths": frozenset(),
            "own": frozenset(),
        }
        is_unix = service.settings.given.listen_is_unix
        self._server: Any = module.Server(
            service.slot, epoll.fileno(), FD_LISTEN, FD_PARK_TAKE, FD_WAKE, is_unix, parts
        )
        self.run: Callable[[float | None], list[Event]] = self._server.run
        """Serve what can be served here, and return the events for plain Python."""
        self.serve: Callable[[WebConnection, int, bytes, bool], bool] = self._server.serve
        """Serve a request whose bytes have been read; False, with nothing done, if plain Python has to."""

    def configure(self) -> None:
        """Take over the settings in force."""
        settings = self._service.settings
        has_log = self._service.accounting.access_log is not None
        own, mount = self._connections.sources.own, settings.given.script_name
        server = self._server
        server.mount, server.own_paths, server.own = mount, settings.own_paths, own
        server.slow_limit, server.logs = settings.slow_limit, has_log
        server.route_table = self._service.accounting.routes

    @property
    def serving(self) -> int:
        """The descriptor of the connection whose request is being served here, -1: none."""
        return int(self._server.serving)

    def is_calling(self) -> bool:
        """Whether the application has been called from here and has not returned."""
        return bool(self._server.calling)

    def set_accepting(self, is_accepting: bool) -> None:
        """Take new connections, or no more."""
        self._server.accepting = is_accepting

    def leave(self) -> None:
        """Return to the loop after the present request."""
        self._server.leaving = True

    def set_limit(self, requests: int) -> None:
        """Return to the loop when so many requests have been served; 0: no limit."""
        self._server.limit = requests

    # ---------------------------------------------------------------- what the hot path asks for

    def _hand_over(
        self,
        answer: Any,
        place: int | WebConnection,
        keep: int,
        environ: Environ,
        path: str,
        epoch: float,
        started: float,
        cpu: float,
        head_only: int,
        status: str | None,
        head: str,
        length: int,
    ) -> ResumedRequest:
        """Make the Request of one that was begun there, and has got a head if there is a status."""
        connection = self._handler.served = _connection_at(place)
        io = RequestIO(connection, 1, bool(keep), None, started, self._service, environ)
        request = ResumedRequest(self._service, io, path, epoch, cpu, head_only=bool(head_only))
        if status is not None:
            request.response.set_head(status, (head, None if length < 0 else length, ()))
        if current.request is answer:
            current.request = request
        return request

    def _resume(self, request: ResumedRequest, is_called: int, result: Any, error: BaseException | None) -> None:
        """Go on with a request: with what its application has returned or raised, if it was called."""
        has_work = request.answer_with(result, error) if is_called else request.answer_now()
        self._handler.finish(request, has_work=has_work)

    def _send_rest(self, request: ResumedRequest, records: bytes, sent: int) -> None:
        """Wait for a peer that has not taken the whole answer at once."""
        has_work = request.answer_with_rest(records, sent)
        self._handler.finish(request, has_work=has_work)

    def _settle(self, place: int | WebConnection, keep: int) -> None:
        self._connections.settle(_connection_at(place), None, bool(keep))

    def _take(self, place: int | WebConnection, data: bytes) -> None:
        """Take a connection from which something has come that is for plain Python, or nothing yet."""
        if isinstance(place, WebConnection):
            self._handler.receive(place, data)
            return
        connection = self._connections.sources.adopt(place)
        if data:
            self._handler.receive(connection, data)
        else:
            self._connections.hold_new(connection)

    def _tell(
        self,
        connection: WebConnection | None,
        environ: Environ,
        status: str,
        head: str,
        path: str,
        epoch: float,
        duration: int,
        used: int,
        slow: int,
    ) -> None:
        """Tell of a request whose response is out what is to be told."""
        accounting = self._service.accounting
        if slow:
            accounting.report_slow(environ, path, duration)
        if accounting.access_log is not None:
            peer = "" if connection is None else connection.peer
            accounting.log_access(environ, Sent(status, head), path, peer, epoch, duration, used)


def _connection_at(place: int | WebConnection) -> WebConnection:
    """A connection, or one made of a descriptor that has had none."""
    return WebConnection(place) if isinstance(place, int) else place
