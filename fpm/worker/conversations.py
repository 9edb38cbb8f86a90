"""What the bytes of a connection mean, and what becomes of the connection: served, held, kept, closed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from fpm.errors import ProtocolError
from fpm.fastcgi.connection import Connection, State
from fpm.fastcgi.events import NEED_DATA, Reply, RequestBegun
from fpm.fastcgi.params import ParamsDecoder
from fpm.fastcgi.simple import PARAMS_START, match_simple_request
from fpm.protocol.spec import FD_WAKE, WorkerSettings
from fpm.scoreboard.stages import Stage
from fpm.scoreboard.writer import SlotWriter
from fpm.worker.connections import LIMITS, Connections, Held, HeldConnection, half_close
from fpm.worker.master_channel import Reports
from fpm.worker.request_io import Exchange
from fpm.worker.service import Service
from fpm.worker.socket_io import PeerGone, send_all

_IDLE = int(Stage.ACCEPTING)
_EXECUTING = int(Stage.EXECUTING)
_ENDING = int(Stage.END)
_REPLY_PATIENCE = 1.0
"""Seconds for a protocol answer of a few bytes to be taken."""


class Conversations:
    """The connections of a worker while bytes come and go on them; the Host of its exchanges.

    Attributes:
        accepting: the worker still takes requests; if not, no connection is kept.
    """

    def __init__(
        self, settings: WorkerSettings, service: Service, slot: SlotWriter, reports: Reports, connections: Connections
    ) -> None:
        self._settings = settings
        self._service = service
        self._slot = slot
        self._reports = reports
        self._unix = settings.listen_is_unix
        self._connections = connections
        self._held = connections.held
        self.accepting = True
        self._decoder = ParamsDecoder()

    def receive(self, fd: int, peer: str, data: bytes, connection: HeldConnection | None) -> None:
        """Bytes have come while no request is being served."""
        if connection is None or connection.machine is None:
            simple = match_simple_request(data)
            if simple is not None:
                keep, end = simple
                try:
                    params = self._decoder.decode(data, PARAMS_START, end)
                except ProtocolError as error:
                    self._drop(fd, error)
                    return
                self._serve(Exchange(fd, 1, keep, None, monotonic(), self), params, peer)
                return
        if connection is None:
            connection = HeldConnection(fd, peer, Held.SILENT, 0.0)
            self._connections.hold(connection)
        if connection.machine is None:
            connection.machine = self.make_machine()
        self.feed(connection, data)

    def make_machine(self) -> Connection:
        """See Host."""
        return Connection(max_conns=self._settings.pm_max_children, max_reqs=self._settings.pm_max_children)

    def feed(self, connection: HeldConnection, data: bytes) -> None:
        """Gives bytes to the connection's state machine and does what comes of them."""
        machine = connection.machine
        assert machine is not None, "feed() is for connections that have left the short way"
        machine.receive_data(data)
        try:
            while (event := machine.next_event()) is not NEED_DATA:
                if isinstance(event, RequestBegun):
                    exchange = Exchange(connection.fd, event.request_id, event.keep, machine, monotonic(), self)
                    if not self._serve(exchange, event.params, connection.peer):
                        return
                elif isinstance(event, Reply):
                    connection.raw = None
                    send_all(connection.fd, event.data, _REPLY_PATIENCE)
                    if event.close:
                        self._connections.linger(connection.fd, connection.peer, monotonic())
                        return
        except PeerGone:
            self._connections.close(connection.fd)
        except ProtocolError as error:
            self._drop(connection.fd, error)
        else:
            self._wait_for_more(connection, machine, data)

    def _wait_for_more(self, connection: HeldConnection, machine: Connection, data: bytes) -> None:
        if machine.clean:
            connection.machine, connection.raw, connection.kind = None, b"", Held.KEPT
            connection.deadline = monotonic() + LIMITS[Held.KEPT]
            return
        if machine.state is State.IDLE:
            connection.raw = machine.unread
        elif connection.raw is not None:
            connection.raw += data
        if connection.kind is not Held.HEAD:
            connection.kind = Held.HEAD
            connection.deadline = monotonic() + LIMITS[Held.HEAD]

    def _drop(self, fd: int, error: ProtocolError) -> None:
        self._reports.log("warning", f"FastCGI protocol error: {error}; connection closed")
        self._connections.close(fd)

    def _serve(self, exchange: Exchange, params: dict[str, str], peer: str) -> bool:
        """Serves a request and decides what becomes of its connection; True if it is kept."""
        if self._held:
            self._connections.park_others(exchange.fd)
        if self._slot.take():
            os.eventfd_write(FD_WAKE, 1)
        unfinished = self._service.serve(exchange, params, peer)
        if unfinished:
            self._service.background.run_released()
        kept = False
        if exchange.machine is None and not exchange.keep and self._unix and not self._held:
            # All that the peer sent has been read, so a close resets nothing.
            os.close(exchange.fd)
        else:
            kept = self._let_go(exchange, peer)
        self._slot.stages[self._slot.index] = _IDLE if self.accepting else _ENDING
        if unfinished:
            self._service.background.end()
        return kept

    def _let_go(self, exchange: Exchange, peer: str) -> bool:
        fd = exchange.fd
        if fd < 0:
            return False  # it was let go of before the work after the response
        if exchange.keep and not exchange.broken and self.accepting:
            self._connections.hold(self._as_kept(exchange, peer))
            return True
        if exchange.machine is None and self._unix:
            if fd in self._held:
                self._connections.forget(fd)
            os.close(fd)
        else:
            self._connections.linger(fd, peer, monotonic())
        return False

    def _as_kept(self, exchange: Exchange, peer: str) -> HeldConnection:
        connection = self._held.get(exchange.fd) or HeldConnection(exchange.fd, peer, Held.KEPT, 0.0)
        connection.kind, connection.deadline = Held.KEPT, monotonic() + LIMITS[Held.KEPT]
        machine = exchange.machine
        connection.machine = None if machine is None or machine.clean else machine
        connection.raw = b"" if connection.machine is None else connection.machine.unread
        return connection

    @contextmanager
    def waiting(self, stage: Stage) -> Iterator[None]:
        """Shows that this worker waits for the web server in the middle of a request (see Waiter)."""
        stages, index = self._slot.stages, self._slot.index
        if stages[index] != _EXECUTING:
            yield
            return
        stages[index] = stage
        try:
            yield
        finally:
            stages[index] = _EXECUTING

    def release(self, exchange: Exchange) -> None:
        """There is work after the response: the web server must not wait for this worker any more (see Host)."""
        if not exchange.keep or exchange.broken:
            half_close(exchange.fd)
            return
        connection = self._as_kept(exchange, "")
        self._connections.hold(connection)
        exchange.fd = -1
        if not self._connections.park(connection):
            self._connections.close(connection.fd)
