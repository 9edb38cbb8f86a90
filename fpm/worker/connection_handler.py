"""What the bytes of a connection mean: requests, which are served, and answers of the protocol."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from fpm.errors import ProtocolError
from fpm.fastcgi.connection import Connection, State
from fpm.fastcgi.events import NEED_DATA, Reply, RequestBegun
from fpm.fastcgi.params import ParamsDecoder
from fpm.fastcgi.simple import PARAMS_START, match_simple_request
from fpm.scoreboard.stages import Stage
from fpm.worker.compiled import HotPath
from fpm.worker.connection import Phase, WebConnection
from fpm.worker.request import Request
from fpm.worker.request_io import RequestIO
from fpm.worker.service import Service
from fpm.worker.socket_io import PeerGone, read_available

_IDLE = int(Stage.ACCEPTING)
_ENDING = int(Stage.END)
TRIED_EVERY = 8
"""Requests after which it is looked whether others wait."""
_LINGERING = Phase.LINGERING
"""As it is looked at for each request, and a member costs a call to get (Python 3.11)."""


class ConnectionHandler:
    """Reads connections and has their requests served, one at a time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._slot = service.slot
        self._settings = service.settings
        self._connections = service.connections
        self._held = service.connections.held
        self._unix = service.settings.given.listen_is_unix
        self._decoder = ParamsDecoder()
        self._is_crowded = False
        """When it was looked last, after a request, the next connection waited already."""
        self.hot: HotPath | None = None
        """The compiled way, where it serves."""
        self.served: WebConnection | None = None
        """The connection whose request is being served."""

    def descriptors(self) -> set[int]:
        """The descriptors of all open connections."""
        served = set() if self.served is None else {self.served.fd}
        if self.hot is not None:
            served.add(self.hot.serving)
        return {*self._held, *served} - {-1}

    def take(self, connection: WebConnection) -> None:
        """Watch a connection that another worker has parked, and go on with what has come of its request's head."""
        self._connections.hold(connection)
        if connection.raw:
            raw, connection.raw = connection.raw, b""
            connection.machine = self._settings.make_machine()
            self._feed(connection, connection.machine, raw)

    def take_new(self, count: int, is_wanted: Callable[[float], bool]) -> None:
        """Take a new connection and serve it at once, and then the next ones, so that no turn of the loop is needed.

        Args:
            count: how many at most; 0: take one, and wait for its turn, as there is something else to be done.
            is_wanted: given the start of a request, tells whether something else is to be done now.
        """
        sources, connections = self._connections.sources, self._connections
        for number in range(count or 1):
            connection = sources.accept() if sources.accepting else None
            if number:
                self._is_crowded = connection is not None
            if connection is None:
                return
            began = monotonic()
            data = read_available(connection.fd) if count else None
            if data is None:
                connections.hold_new(connection)
                return
            if data:
                self.receive(connection, data)
            else:
                connection.close()
            # To find that nobody waits costs more than to wait for somebody; so it is tried where it has paid before.
            if not (self._is_crowded or self._slot.requests % TRIED_EVERY == 0) or is_wanted(began):
                return

    def read(self, connection: WebConnection) -> None:
        """Read a connection that is held and has become readable."""
        if connection.phase is _LINGERING:
            if connection.drain():
                connection.close()
            return
        data = read_available(connection.fd)
        if data:
            self.receive(connection, data)
        elif data is not None:
            connection.close()

    def receive(self, connection: WebConnection, data: bytes) -> None:
        """Take bytes of a connection while no request is being served."""
        machine = connection.machine
        if machine is None:
            simple = match_simple_request(data)
            if simple is not None:
                if self.hot is not None and self._serve_compiled(self.hot, connection, data):
                    return
                keep, end = simple
                try:
                    params = self._decoder.decode(data, PARAMS_START, end)
                except ProtocolError as error:
                    self._drop(connection, error)
                    return
                if self._serve(RequestIO(connection, 1, keep, None, monotonic(), self._service, params)):
                    self._go_on(connection)
                return
            machine = connection.machine = self._settings.make_machine()
        self._connections.hold(connection)
        self._feed(connection, machine, data)

    def _feed(self, connection: WebConnection, machine: Connection, data: bytes) -> None:
        """Give bytes to the connection's state machine and do what comes of them."""
        machine.receive_data(data)
        try:
            while (event := machine.next_event()) is not NEED_DATA:
                if isinstance(event, RequestBegun):
                    number, keep, params = event.request_id, event.keep, event.params
                    io = RequestIO(connection, number, keep, machine, monotonic(), self._service, params)
                    if not self._serve(io) or self._connections.pass_on(connection):
                        return
                elif isinstance(event, Reply):
                    connection.reply(event.data)
                    if event.close:
                        self._connections.linger(connection)
                        return
        except PeerGone:
            connection.close()
        except ProtocolError as error:
            self._drop(connection, error)
        else:
            _wait_for_more(connection, machine, data)

    def _go_on(self, connection: WebConnection) -> None:
        """Its request has been served, and it is kept: what has come meanwhile may be the next one."""
        machine = connection.machine
        if machine is not None and not self._connections.pass_on(connection):
            self._feed(connection, machine, b"")

    def _drop(self, connection: WebConnection, error: ProtocolError) -> None:
        self._service.master.log("warning", f"FastCGI protocol error: {error}; connection closed")
        connection.close()

    def _serve(self, io: RequestIO) -> bool:
        """Serve a request and decide what becomes of its connection; True if it is kept."""
        self.served = io.connection
        if self._held:
            self._connections.park_others(io.connection)
        request = Request(self._service, io)
        return self._end(request, has_work=request.answer())

    def _serve_compiled(self, hot: HotPath, connection: WebConnection, data: bytes) -> bool:
        has_parked = bool(self._held) and self._connections.park_others(connection)
        return hot.serve(connection, connection.fd, data, not has_parked)

    def finish(self, request: Request, *, has_work: bool) -> None:
        """Go on with a request that the compiled hot path has begun, and whose response is out."""
        connection = request.io.connection
        if self._end(request, has_work=has_work):
            self._go_on(connection)

    def _end(self, request: Request, *, has_work: bool) -> bool:
        if has_work:
            request.work()
        self.served = None
        io = request.io
        connection, kept = io.connection, False
        if self._unix and not io.keep and io.machine is None:
            connection.close()  # what settle() would do, for nearly every connection that is not kept
        else:
            kept = self._connections.settle(connection, io.machine, io.keep and not io.broken)
        slot = self._slot
        slot.stages[slot.index] = _IDLE if self._connections.sources.accepting else _ENDING
        request.end()
        return kept


def _wait_for_more(connection: WebConnection, machine: Connection, data: bytes) -> None:
    if machine.clean:
        connection.machine, connection.raw = None, b""
        connection.enter(Phase.KEPT, monotonic())
        return
    if machine.state is State.IDLE:
        connection.raw = machine.unread
    elif connection.raw is not None:
        connection.raw += data
    if connection.phase is not Phase.HEAD:
        connection.enter(Phase.HEAD, monotonic())
