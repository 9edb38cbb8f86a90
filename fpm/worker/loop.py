"""A worker's loop: waits for a connection or a message from the master, and has one request at a time served.

Rules of the file. Everything the loop waits for is in one epoll set: the channel, the listening socket, the parking
socket, the connections held. Nothing here waits for a peer; only a request that is being served may.
"""

from __future__ import annotations

import _socket
import errno
import os
import random
import select
import signal
from ipaddress import ip_address, ip_network
from time import monotonic

from fpm.errors import EXIT_OK, EXIT_SOFTWARE
from fpm.protocol.messages import ApplySettings, Check, LimitReached, Quit, RecheckSockets, Reopen, Serve, Serving
from fpm.protocol.spec import FD_LISTEN, FD_PARK_PUT, FD_PARK_TAKE, FD_WAKE, WorkerSettings
from fpm.scoreboard.stages import Stage
from fpm.scoreboard.writer import SlotWriter
from fpm.system.listen_queue import ListenQueueReader
from fpm.worker.connections import LEAVING_LIMIT, LIMITS, Connections, Held, HeldConnection
from fpm.worker.conversations import Conversations
from fpm.worker.master_channel import Reports
from fpm.worker.service import Service
from fpm.worker.socket_io import is_readable, read_available

SHARED = (FD_WAKE, FD_PARK_TAKE, FD_PARK_PUT, FD_LISTEN)
"""Descriptors of the whole pool."""
SIGNALS_AT_ONCE = 512
"""Signals that the loop has been woken for and reads in one turn."""
HANDOVERS_MAX = 8
"""How often a worker that leaves looks again whether the others are still there."""


class WorkerLoop:
    """The loop of one worker."""

    def __init__(
        self,
        settings: WorkerSettings,
        service: Service,
        slot: SlotWriter,
        reports: Reports,
    ) -> None:
        self._settings = settings
        self._service = service
        self._slot = slot
        self._reports = reports
        self._unix = settings.listen_is_unix
        self._allowed = [ip_network(text, strict=False) for text in settings.listen_allowed_clients]
        self._limit = _draw_limit(settings)
        self._memory = 0
        """Bytes, once they have exceeded pm.max_memory."""
        service.accounting.on_memory = self._exceed_memory
        self._quitting = False
        self._left = False
        """Everything that others could take has been handed over."""
        self._final = False
        """The pool ends: nobody will take what this worker leaves behind."""
        self._queued = 0
        """Connections that wait in the listen queue when the pool ends, and are still answered."""
        self._code = EXIT_OK
        self._listener = _socket.socket(fileno=FD_LISTEN)
        self._epoll = select.epoll()
        self._connections = Connections(self._epoll)
        self._held = self._connections.held
        self._conversations = Conversations(settings, service, slot, reports, self._connections)
        self._signalled, self._wake_up = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._epoll.register(self._signalled, select.EPOLLIN)
        self._epoll.register(reports.fd, select.EPOLLIN)
        self._conversations.accepting = False

    def begin_accepting(self) -> None:
        """Take connections from now on."""
        if not self._conversations.accepting:
            self._conversations.accepting = True
            self._epoll.register(FD_LISTEN, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            self._epoll.register(FD_PARK_TAKE, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            self._slot.set_stage(Stage.ACCEPTING)

    def descriptors(self) -> list[int]:
        """Those that this worker must share with nobody: its own, its pool's sockets, its connections."""
        own = [self._reports.fd, self._epoll.fileno(), self._signalled, self._wake_up]
        turn = self._service.background.turn
        served = {turn[0].fd} - {-1} if turn is not None else set()
        return [*own, *SHARED, *{*self._held, *served}]

    def run(self) -> int:
        """The loop; returns the exit code."""
        # The byte is written by the C handler: a signal that comes right before the loop falls asleep wakes it, too.
        signal.set_wakeup_fd(self._wake_up, warn_on_full_buffer=False)
        signal.signal(signal.SIGQUIT, self._quit_on_signal)
        self._serve()
        while self._final and self._take_what_is_left():
            self._serve()
        return self._code

    def _serve(self) -> None:
        """Until this worker is to leave and holds no connection any more."""
        poll = self._epoll.poll
        while not self._quitting or self._held:
            events = poll(self._timeout() if self._held else None)
            if len(events) > 1:
                events.sort(key=self._rank)
            for fd, _ in events:
                if fd == FD_LISTEN:
                    self._accept(alone=len(events) == 1)
                elif fd == self._reports.fd:
                    self._take_message()
                elif fd == FD_PARK_TAKE:
                    self._take_parked()
                elif fd in self._held:
                    self._read_held(self._held[fd])
                elif fd == self._signalled:
                    os.read(fd, SIGNALS_AT_ONCE)
                if self._quitting and not self._left:
                    break
                if self._limit and self._slot.requests >= self._limit:
                    self._reach_limit()
                    break
            if self._quitting and not self._left:
                self._left = True
                self._stop_accepting(replaced=not self._final)
            if self._held:
                self._connections.close_expired(monotonic())
                if self._left and self._final:
                    self._take_what_is_left()

    def _take_what_is_left(self) -> bool:
        """The pool ends. Nobody is left for what others have parked meanwhile, and nobody comes for the listen queue.

        Returns:
            False if there is nothing more to answer.
        """
        if any(connection.kind is not Held.LINGERING for connection in self._held.values()):
            return True
        while not self._slot.others_serving() and (connection := self._connections.take_parked()) is not None:
            if connection.kind is Held.KEPT and not is_readable(connection.fd):
                os.close(connection.fd)  # between two requests
            else:
                connection.deadline = min(connection.deadline, monotonic() + LEAVING_LIMIT)
                self._hold_parked(connection)
        if self._queued:
            self._queued -= 1  # of a socket that stays open for others, no more than there were
            accepted = self._accept_one()
            if accepted is not None:
                self._connections.hold(HeldConnection(*accepted, Held.SILENT, monotonic() + LEAVING_LIMIT))
        return bool(self._held)

    def _rank(self, event: tuple[int, int]) -> int:
        """Messages from the master come first: a quit must not wait for one more request. Then what only this worker
        knows of (EPOLLEXCLUSIVE): it is taken before one of the held connections is served, which may take long."""
        fd = event[0]
        if fd == self._reports.fd:
            return 0
        return 1 if fd in (FD_LISTEN, FD_PARK_TAKE) else 2

    def _quit_on_signal(self, number: int, frame: object) -> None:
        """SIGQUIT, which is PHP-FPM's way to end a worker after its request; the loop has to wake up for it."""
        self._quitting = True

    def _timeout(self) -> float | None:
        """Seconds to the first deadline of a connection, None without one."""
        deadline = self._connections.next_deadline()
        return None if deadline is None else max(0.0, deadline - monotonic())

    def _take_message(self) -> None:
        received = self._reports.receive()
        if received is None:
            self._epoll.unregister(self._reports.fd)  # or it would be ready for ever while connections are served
            self._quitting = self._final = True
            return
        message, fd = received
        match message:
            case Quit():
                self._quitting = True
                self._final = message.final
                self._queued = ListenQueueReader().read(FD_LISTEN).length if self._final else 0
            case Serve():
                self.begin_accepting()
                self._reports.send(Serving())
            case RecheckSockets():
                self._look_again()
            case Check() if fd is not None:
                os.set_blocking(fd, False)
                self._connections.hold(HeldConnection(fd, "", Held.SILENT, monotonic() + LIMITS[Held.SILENT]))
                fd = None
            case ApplySettings():
                fd = self._apply(message.worker, fd)
            case Reopen() if fd is not None and self._service.accounting.access_log is not None:
                self._service.accounting.access_log.replace_descriptor(fd)
                fd = None
        if fd is not None:
            os.close(fd)

    def _apply(self, settings: WorkerSettings, log_fd: int | None) -> int | None:
        """Serve by new settings from now on; returns the descriptor if it is not wanted."""
        if (settings.pm_max_requests, settings.pm_max_requests_jitter) != (
            self._settings.pm_max_requests,
            self._settings.pm_max_requests_jitter,
        ):
            self._limit = _draw_limit(settings)
        self._settings = settings
        self._allowed = [ip_network(text, strict=False) for text in settings.listen_allowed_clients]
        return self._service.apply(settings, log_fd)

    def _look_again(self) -> None:
        """Another worker may have been killed after it was woken for a connection and before it took it."""
        if self._conversations.accepting:
            for fd in (FD_LISTEN, FD_PARK_TAKE):
                # epoll_ctl(2) looks whether a descriptor is ready when it is added; EPOLLEXCLUSIVE cannot be modified.
                self._epoll.unregister(fd)
                self._epoll.register(fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def _accept(self, *, alone: bool) -> None:
        """A new connection: served at once if nothing else is to be done, so that no turn of the loop is needed."""
        accepted = self._accept_one() if self._conversations.accepting else None
        if accepted is None:
            return
        fd, peer = accepted
        data = read_available(fd) if alone else None
        if data is None:
            connection = HeldConnection(fd, peer, Held.SILENT, monotonic() + LIMITS[Held.SILENT])
            self._connections.hold(connection)
        elif data:
            self._conversations.receive(fd, peer, data, None)
        else:
            os.close(fd)

    def _accept_one(self) -> tuple[int, str] | None:
        """The descriptor and the address of a new connection."""
        try:
            fd, address = self._listener._accept()  # type: ignore[attr-defined]
        except OSError as error:  # EAGAIN: another worker was faster; ECONNABORTED: the client is gone already
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._leave_without_descriptors(error)
            return None
        peer = ""
        if not self._unix:
            peer = address[0]
            if self._allowed and not self._is_allowed(peer):
                os.close(fd)
                return None
        os.set_blocking(fd, False)
        return fd, peer

    def _leave_without_descriptors(self, error: OSError) -> None:
        """The application leaks descriptors. Trying again would be a busy loop; a new worker has all of them."""
        self._reports.log("error", f"accept() failed: {error.strerror} ({error.errno}); this worker leaves")
        self._quitting = True
        self._code = EXIT_SOFTWARE

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
        if connection is not None:
            self._connections.shorten_surplus(monotonic())
            self._hold_parked(connection)

    def _hold_parked(self, connection: HeldConnection) -> None:
        if connection.raw:
            connection.machine = self._conversations.make_machine()
            raw, connection.raw = connection.raw, b""
            self._connections.hold(connection)
            self._conversations.feed(connection, raw)
        else:
            self._connections.hold(connection)

    def _read_held(self, connection: HeldConnection) -> None:
        if connection.kind is Held.LINGERING:
            if self._connections.drain(connection.fd):
                self._connections.close(connection.fd)
            return
        data = read_available(connection.fd)
        if data:
            self._conversations.receive(connection.fd, connection.peer, data, connection)
        elif data is not None:
            self._connections.close(connection.fd)

    def _exceed_memory(self, memory: int) -> None:
        """More than pm.max_memory: leave after this request, as if it were the last of pm.max_requests."""
        self._memory, self._limit = memory, 1

    def _reach_limit(self) -> None:
        """pm.max_requests or pm.max_memory is reached: the master hears it, makes a replacement, and then says quit."""
        self._limit = 0
        self._stop_accepting(replaced=True)
        self._reports.send(LimitReached(self._slot.requests, self._memory))

    def _stop_accepting(self, *, replaced: bool = False) -> None:
        """Take nothing new; what has been taken goes to other workers, or is answered here if nobody is idle.

        Args:
            replaced: the pool goes on; the master sees to it that somebody takes what is parked.

        The listening socket and the parking socket wake one worker for each connection (EPOLLEXCLUSIVE, epoll_ctl(2)).
        If it was this one, just now, then nobody else knows of that connection: so it is taken, if it is there.
        """
        if not self._conversations.accepting:
            return
        self._epoll.unregister(FD_LISTEN)
        self._epoll.unregister(FD_PARK_TAKE)
        accepted = self._accept_one()
        if accepted is not None:
            self._connections.hold(HeldConnection(*accepted, Held.SILENT, monotonic() + LIMITS[Held.SILENT]))
        self._conversations.accepting = False
        slot = self._slot
        slot.set_stage(Stage.END)
        if replaced:
            self._connections.hand_over(idle=True, serving=True, now=monotonic())
            return
        for _ in range(HANDOVERS_MAX):
            while (connection := self._connections.take_parked()) is not None:
                self._hold_parked(connection)
            others = slot.others_idle(), slot.others_serving()
            self._connections.hand_over(*others, monotonic())
            # Whoever was there may have left meanwhile, after a last look for parked connections.
            if others == (slot.others_idle(), slot.others_serving()):
                return


def _draw_limit(settings: WorkerSettings) -> int:
    """How many requests this worker serves; 0: no limit. The jitter keeps workers from leaving all at once."""
    if not settings.pm_max_requests:
        return 0
    return settings.pm_max_requests + random.randint(0, max(0, settings.pm_max_requests_jitter))
