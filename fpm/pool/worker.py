"""A worker: waits for a connection or a message from the master, serves one request at a time.

Rules of the file. Everything the loop waits for is in one epoll set: the channel, the listening socket, the parking
socket, the connections held. Nothing here waits for a peer; only a request that is being served may.
"""

from __future__ import annotations

import _socket
import os
import random
import select
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from ipaddress import ip_network
from time import monotonic

from fpm.errors import ProtocolError
from fpm.fastcgi.connection import Connection
from fpm.fastcgi.events import NEED_DATA
from fpm.fastcgi.events import Reply
from fpm.fastcgi.events import RequestBegun
from fpm.fastcgi.params import decode_params
from fpm.fastcgi.simple import PARAMS_START
from fpm.fastcgi.simple import match_simple_request
from fpm.pool.access_log import AccessLog
from fpm.pool.connections import LIMITS
from fpm.pool.connections import Connections
from fpm.pool.connections import Held
from fpm.pool.connections import HeldConnection
from fpm.pool.connections import half_close
from fpm.pool.exchange import Exchange
from fpm.pool.output import replace_standard_streams
from fpm.pool.reports import Reports
from fpm.pool.service import Service
from fpm.pool.spec import FD_LISTEN
from fpm.pool.spec import FD_PARK_PUT
from fpm.pool.spec import FD_PARK_TAKE
from fpm.pool.spec import FD_SCOREBOARD
from fpm.pool.spec import FD_WAKE
from fpm.pool.spec import WorkerSettings
from fpm.pool.wire import PeerGone
from fpm.pool.wire import read_available
from fpm.pool.wire import send_all
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.stages import Stage
from fpm.scoreboard.writer import SlotWriter
from fpm.wsgi.response import WSGIApp

_IDLE = int(Stage.ACCEPTING)
_REPLY_PATIENCE = 1.0
"""Seconds for a protocol answer of a few bytes to be taken."""


def run_worker(
    settings: WorkerSettings,
    application: WSGIApp,
    *,
    slot: int,
    channel: socket.socket,
    access_log: int | None,
    load_application: Callable[[], WSGIApp] | None = None,
) -> int:
    """Serves until the master says quit or is gone; the main function of a freshly forked worker.

    Args:
        slot: this worker's slot of the scoreboard.
        channel: SOCK_SEQPACKET to the master.
        access_log: descriptor opened to append, or None.
        load_application: makes the application in this process instead of `application` (preload = no).

    Returns:
        The exit code.
    """
    replace_standard_streams()
    board = Scoreboard.attach(FD_SCOREBOARD, settings.slots)
    writer = SlotWriter(board, slot, pid=os.getpid(), started=time.time(), script=settings.app_name)
    if load_application is not None:
        application = load_application()
    reports = Reports(channel)
    log = AccessLog(settings, access_log) if access_log is not None and settings.access_format else None
    service = Service(settings, application, writer, reports, log)
    worker = Worker(settings, service, writer, reports, log)
    writer.set_stage(Stage.ACCEPTING)
    reports.send({"event": "ready"})
    return worker.run()


class Worker:
    """The loop and the life of its connections."""

    def __init__(
        self,
        settings: WorkerSettings,
        service: Service,
        slot: SlotWriter,
        reports: Reports,
        access_log: AccessLog | None,
    ) -> None:
        self._settings = settings
        self._service = service
        self._slot = slot
        self._reports = reports
        self._access_log = access_log
        self._unix = settings.listen_is_unix
        self._allowed = [ip_network(text) for text in settings.allowed_clients]
        self._requests_left = _draw_limit(settings)
        self._quitting = False
        self._accepting = True
        self._listener = _socket.socket(fileno=FD_LISTEN)
        self._epoll = select.epoll()
        put, take = socket.socket(fileno=FD_PARK_PUT), socket.socket(fileno=FD_PARK_TAKE)
        self._connections = Connections(self._epoll, put, take)
        self._held = self._connections.held
        self._epoll.register(reports.fd, select.EPOLLIN)
        self._epoll.register(FD_LISTEN, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        self._epoll.register(FD_PARK_TAKE, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def run(self) -> int:
        """The loop; returns the exit code."""
        while not self._quitting:
            for fd, _ in self._epoll.poll(self._timeout()):
                if fd == FD_LISTEN:
                    self._accept()
                elif fd == self._reports.fd:
                    self._take_message()
                elif fd == FD_PARK_TAKE:
                    self._take_parked()
                elif fd in self._held:
                    self._read_held(self._held[fd])
                if self._quitting:
                    break
            if self._held:
                self._connections.close_expired(monotonic())
        self._connections.close_all()
        return 0

    def _timeout(self) -> float | None:
        """Seconds for epoll_wait(2), None for ever."""
        if not self._held:
            return None
        deadline = self._connections.next_deadline()
        return None if deadline is None else max(0.0, deadline - monotonic())

    def _take_message(self) -> None:
        received = self._reports.receive()
        if received is None:
            self._quitting = True
            return
        message, fd = received
        if message.get("command") == "quit":
            self._quitting = True
        elif message.get("command") == "reopen" and fd is not None and self._access_log is not None:
            self._access_log.replace_descriptor(fd)
            fd = None
        if fd is not None:
            os.close(fd)

    def _accept(self) -> None:
        if not self._accepting:
            return
        try:
            fd, address = self._listener._accept()  # type: ignore[attr-defined]
        except OSError:  # EAGAIN: another worker was faster; ECONNABORTED: the client is gone already
            return
        peer = ""
        if not self._unix:
            peer = address[0]
            if self._allowed and not self._is_allowed(peer):
                os.close(fd)
                return
        os.set_blocking(fd, False)
        data = read_available(fd)
        if data is None:
            connection = HeldConnection(fd, peer, Held.SILENT, monotonic() + LIMITS[Held.SILENT])
            self._connections.hold(connection)
        elif data:
            self._receive(fd, peer, data, None)
        else:
            os.close(fd)

    def _is_allowed(self, peer: str) -> bool:
        address = ip_address(peer)
        if address.version == 6 and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self._allowed):
            return True
        self._reports.log("error", f"Connection disallowed: IP address '{address}' has been dropped.")
        return False

    def _take_parked(self) -> None:
        connection = self._connections.take_parked()
        if connection is None:
            return
        if connection.raw:
            connection.machine = self._make_machine()
            raw, connection.raw = connection.raw, b""
            self._connections.hold(connection)
            self._feed(connection, raw)
        else:
            self._connections.hold(connection)

    def _read_held(self, connection: HeldConnection) -> None:
        if connection.kind is Held.LINGERING:
            if self._connections.drain(connection.fd):
                self._connections.close(connection.fd)
            return
        data = read_available(connection.fd)
        if data:
            self._receive(connection.fd, connection.peer, data, connection)
        elif data is not None:
            self._connections.close(connection.fd)

    def _receive(self, fd: int, peer: str, data: bytes, connection: HeldConnection | None) -> None:
        """Bytes have come while no request is being served."""
        if connection is None or connection.machine is None:
            simple = match_simple_request(data)
            if simple is not None:
                keep, end = simple
                try:
                    params = decode_params(data, PARAMS_START, end)
                except ProtocolError as error:
                    self._drop(fd, error)
                    return
                self._serve(Exchange(fd, 1, keep, None, monotonic(), self._release), params, peer)
                return
        if connection is None:
            connection = HeldConnection(fd, peer, Held.SILENT, 0.0)
            self._connections.hold(connection)
        if connection.machine is None:
            connection.machine = self._make_machine()
        self._feed(connection, data)

    def _make_machine(self) -> Connection:
        return Connection(max_conns=self._settings.max_children, max_reqs=self._settings.max_children)

    def _feed(self, connection: HeldConnection, data: bytes) -> None:
        """Gives bytes to the connection's state machine and does what comes of them."""
        machine = connection.machine
        assert machine is not None
        machine.receive_data(data)
        try:
            while (event := machine.next_event()) is not NEED_DATA:
                if isinstance(event, RequestBegun):
                    exchange = Exchange(
                        connection.fd, event.request_id, event.keep, machine, monotonic(), self._release
                    )
                    self._serve(exchange, event.params, connection.peer)
                    return
                if isinstance(event, Reply):
                    send_all(connection.fd, event.data, _REPLY_PATIENCE)
                    if event.close:
                        self._connections.linger(connection.fd, connection.peer, monotonic())
                        return
        except PeerGone:
            self._connections.close(connection.fd)
            return
        except ProtocolError as error:
            self._drop(connection.fd, error)
            return
        self._wait_for_more(connection, machine, data)

    def _wait_for_more(self, connection: HeldConnection, machine: Connection, data: bytes) -> None:
        if machine.clean:
            connection.machine, connection.raw, connection.kind = None, b"", Held.KEPT
            connection.deadline = monotonic() + LIMITS[Held.KEPT]
            return
        connection.raw += data
        if connection.kind is not Held.HEAD:
            connection.kind = Held.HEAD
            connection.deadline = monotonic() + LIMITS[Held.HEAD]

    def _drop(self, fd: int, error: ProtocolError) -> None:
        self._reports.log("warning", f"[pool {self._settings.pool}] FastCGI protocol error: {error}; connection closed")
        self._connections.close(fd)

    def _serve(self, exchange: Exchange, params: dict[str, str], peer: str) -> None:
        """Serves a request and decides what becomes of its connection."""
        if self._held:
            self._connections.park_others(exchange.fd)
        if self._slot.take():
            os.eventfd_write(FD_WAKE, 1)
        self._service.serve(exchange, params, peer)
        self._let_go(exchange, peer)
        self._slot.set_stage(_IDLE)
        if self._requests_left:
            self._count_down()

    def _let_go(self, exchange: Exchange, peer: str) -> None:
        fd = exchange.fd
        if fd < 0:
            return  # fpm.finish_request() has let it go already
        if exchange.keep and not exchange.broken and self._may_keep(fd):
            connection = self._held.get(fd) or HeldConnection(fd, peer, Held.KEPT, 0.0)
            connection.kind, connection.deadline = Held.KEPT, monotonic() + LIMITS[Held.KEPT]
            connection.machine, connection.raw = exchange.machine, b""
            self._connections.hold(connection)
            if exchange.machine is not None:
                self._feed(connection, b"")
        elif exchange.machine is None and self._unix:
            # All that the peer sent has been read, so a close resets nothing.
            self._connections.close(fd)
        else:
            self._connections.linger(fd, peer, monotonic())

    def _may_keep(self, fd: int) -> bool:
        """Only if it is the one connection held and nobody waits in the listen queue."""
        others = len(self._held) - (fd in self._held)
        return not others and self._accepting and not _is_readable(FD_LISTEN)

    def _release(self, exchange: Exchange) -> None:
        """fpm.finish_request(): the web server must not wait for this worker any more."""
        fd = exchange.fd
        if not exchange.keep:
            half_close(fd)
            return
        connection = self._held.get(fd) or HeldConnection(fd, "", Held.KEPT, monotonic() + LIMITS[Held.KEPT])
        connection.kind, connection.raw = Held.KEPT, b""
        self._connections.hold(connection)
        exchange.fd = -1
        if not self._connections.park(connection):
            self._connections.close(fd)

    def _count_down(self) -> None:
        self._requests_left -= 1
        if self._requests_left == 0:
            self._accepting = False
            self._epoll.unregister(FD_LISTEN)
            self._epoll.unregister(FD_PARK_TAKE)
            self._connections.close_all((Held.SILENT, Held.HEAD, Held.KEPT))
            self._slot.set_stage(Stage.END)
            self._reports.send({"event": "limit", "requests": self._slot.requests})


def _draw_limit(settings: WorkerSettings) -> int:
    """How many requests this worker serves; 0: no limit. The jitter keeps workers from leaving all at once."""
    if not settings.max_requests:
        return 0
    return settings.max_requests + random.randint(0, max(0, settings.max_requests_jitter))


def _is_readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
