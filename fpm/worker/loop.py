"""A worker's loop: waits for a connection or a message from the master, and has one request at a time served.

Rules of the file. Everything the loop waits for is in one epoll set: the channel, the listening socket, the parking
socket, the connections held. Nothing here waits for a peer; only a request that is being served may.
"""

from __future__ import annotations

import os
import select
import signal
from time import monotonic
from types import ModuleType

from fpm.errors import EXIT_SOFTWARE
from fpm.protocol.messages import ApplySettings, Check, LimitReached, Quit, RecheckSockets, Reopen, Serve, Serving
from fpm.protocol.spec import FD_LISTEN, FD_PARK_PUT, FD_PARK_TAKE, FD_WAKE, WorkerSettings
from fpm.scoreboard.stages import Stage
from fpm.system.listen_queue import ListenQueueReader
from fpm.worker.accounting import WRITE_AFTER
from fpm.worker.answer_sender import LOOK_AFTER
from fpm.worker.compiled import HotPath
from fpm.worker.connection import Phase, WebConnection
from fpm.worker.connection_handler import ConnectionHandler
from fpm.worker.connections import LEAVING_LIMIT
from fpm.worker.departure import Departure, Leaving, draw_limit
from fpm.worker.service import Service
from fpm.worker.unusable import explain_unusable, lost_error

SHARED = (FD_WAKE, FD_PARK_TAKE, FD_PARK_PUT, FD_LISTEN)
"""Descriptors of the whole pool."""
SIGNALS_AT_ONCE = 512
"""Signals that the loop has been woken for and reads in one turn."""
IN_A_ROW = 16
"""New connections that are served before the loop looks at anything else."""
HANDOVERS_MAX = 8
"""How often a worker that leaves looks again whether the others are still there."""


class WorkerLoop:
    """The loop of one worker, with many attributes, as all its parts meet here.

    Args:
        epoll: what it waits for; the service's connections are in it.
        compiled: fpm._hotpath, if it serves.
    """

    def __init__(self, service: Service, epoll: select.epoll, compiled: ModuleType | None = None) -> None:
        self._service = service
        self._slot = service.slot
        self._master = service.master
        self._connections = service.connections
        self._sources = service.connections.sources
        self._held = service.connections.held
        self._handler = ConnectionHandler(service)
        if compiled is not None:
            self._handler.hot = HotPath(compiled, service, self._handler, epoll)
        self._limit = 0
        """Requests after which this worker is replaced; 0: no limit."""
        self._memory = 0
        """Bytes, once they have exceeded pm.max_memory."""
        service.accounting.on_memory = self._exceed_memory
        self._sources.on_error = self._leave_unusable
        self._departure = Departure()
        self._epoll = epoll
        self._set_limit(draw_limit(service.settings.given))
        self._signalled, self._wake_up = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        epoll.register(self._signalled, select.EPOLLIN)
        epoll.register(self._master.fd, select.EPOLLIN)
        self._sources.own = frozenset((self._master.fd, epoll.fileno(), self._signalled, self._wake_up, *SHARED))
        if self._handler.hot is not None:
            self._handler.hot.configure()

    @property
    def hot(self) -> HotPath | None:
        """The compiled hot path, where it serves."""
        return self._handler.hot

    def begin_accepting(self) -> None:
        """Take connections from now on."""
        if not self._sources.accepting:
            self._sources.begin_accepting()
            if self._handler.hot is not None:
                self._handler.hot.set_accepting(True)
            self._slot.set_stage(Stage.ACCEPTING)

    def descriptors(self) -> list[int]:
        """List what this worker must share with nobody: its own descriptors, its pool's sockets, its connections."""
        own = (self._master.fd, self._epoll.fileno(), self._signalled, self._wake_up)
        return [*own, *SHARED, *self._handler.descriptors(), *self._service.sender.descriptors()]

    def run(self) -> int:
        """Serve until this worker is to leave; returns the exit code."""
        # The byte is written by the C handler: a signal that comes right before the loop falls asleep wakes it, too.
        signal.set_wakeup_fd(self._wake_up, warn_on_full_buffer=False)
        signal.signal(signal.SIGQUIT, self._quit_on_signal)
        self._serve()
        while self._departure.is_final and self._drain_listen_queue():
            self._serve()
        self._service.accounting.write_notes()
        return self._departure.code

    def _serve(self) -> None:
        """Serve until this worker is to leave and holds no connection any more."""
        departure, told, read, hot = self._departure, Leaving.TOLD, self._handler.read, self._handler.hot
        wait, accounting = self._epoll.poll if hot is None else hot.run, self._service.accounting
        while not departure.stage or self._held:
            events = wait(self._timeout() if self._held else WRITE_AFTER if accounting.notes else None)
            if not events:
                accounting.write_notes()
            if len(events) > 1:
                events.sort(key=self._rank)
            for fd, _ in events:
                if fd == FD_LISTEN:
                    self._handler.take_new(IN_A_ROW if len(events) == 1 else 0, self._is_wanted)
                elif fd in self._held:
                    read(self._held[fd])
                else:
                    self._react(fd)
                if departure.stage is told or (self._limit and self._slot.requests >= self._limit):
                    break
            if self._limit and self._slot.requests >= self._limit and departure.stage is not told:
                self._reach_limit()
            if departure.stage is told:
                departure.stage = Leaving.HANDED_OVER
                self._stop_accepting(replaced=not departure.is_final)
            if self._held:
                self._connections.close_expired(monotonic())
                if departure.stage and departure.is_final:
                    self._drain_listen_queue()

    def _react(self, fd: int) -> None:
        """Do what is to be done about a descriptor that is ready."""
        if fd == self._master.fd:
            self._take_message()
        elif fd == FD_PARK_TAKE:
            connection = self._sources.take_parked()
            if connection is not None:
                self._connections.shorten_surplus(monotonic())
                self._handler.take(connection)
        elif fd == self._signalled and not os.read(fd, SIGNALS_AT_ONCE):
            self._leave_unusable(f"descriptor {self._wake_up} of pyfpm is lost", lost_error())

    def _rank(self, event: tuple[int, int]) -> int:
        """Messages from the master come first: a quit must not wait for one more request. Then what only this worker
        knows of (EPOLLEXCLUSIVE): it is taken before one of the held connections is served, which may take long."""
        fd = event[0]
        return 0 if fd == self._master.fd else 1 if fd in (FD_LISTEN, FD_PARK_TAKE) else 2

    def _timeout(self) -> float | None:
        """Count the seconds to the first deadline of a connection, or until notes are written; None without either."""
        deadline, limit = self._connections.next_deadline(), WRITE_AFTER if self._service.accounting.notes else None
        left = None if deadline is None else max(0.0, deadline - monotonic())
        return min((time for time in (left, limit) if time is not None), default=None)

    # ---------------------------------------------------------------- what the master says

    def _take_message(self) -> None:
        received = self._master.receive()
        if received is None:
            self._epoll.unregister(self._master.fd)  # or it would be ready for ever while connections are served
            self._departure.is_final = True
            self._departure.begin()
            return
        message, fd = received
        access_log = self._service.accounting.access_log
        match message:
            case Quit():
                self._quit(is_final=message.final)
            case Serve():
                self.begin_accepting()
                self._master.send_surely(Serving())
            case RecheckSockets():
                self._sources.recheck()
            case Check() if fd is not None:
                os.set_blocking(fd, False)
                self._connections.hold_new(WebConnection(fd))
                fd = None
            case ApplySettings():
                fd = self._apply(message.worker, fd)
            case Reopen() if fd is not None and access_log is not None:
                access_log.replace_descriptor(fd)
                fd = None
        if fd is not None:
            os.close(fd)

    def _quit(self, *, is_final: bool) -> None:
        self._departure.is_final = is_final
        if is_final:
            reader = ListenQueueReader()
            self._departure.queued = reader.read(FD_LISTEN).length
            reader.close()
        self._departure.begin()

    def _quit_on_signal(self, number: int, frame: object) -> None:
        """SIGQUIT, which is PHP-FPM's way to end a worker after its request; the loop has to wake up for it."""
        self._departure.begin()
        if self._handler.hot is not None:
            self._handler.hot.leave()

    def _apply(self, settings: WorkerSettings, log_fd: int | None) -> int | None:
        """Serve by new settings from now on; returns the descriptor if it is not wanted."""
        former = self._service.settings.given
        self._service.settings.apply(settings)
        now = (settings.pm_max_requests, settings.pm_max_requests_jitter)
        if now != (former.pm_max_requests, former.pm_max_requests_jitter):
            self._set_limit(draw_limit(settings))
        unwanted = self._service.accounting.settings_changed(log_fd)
        if self._handler.hot is not None:
            self._handler.hot.configure()
        return unwanted

    # ---------------------------------------------------------------- new connections

    def _is_wanted(self, began: float) -> bool:
        """Look whether something comes before the next new connection: it is all cheap to see."""
        is_elsewhere = self._held or self._departure.stage or 0 < self._limit <= self._slot.requests
        return bool(is_elsewhere) or monotonic() - began > LOOK_AFTER or self._slot.others_idle()

    def _leave_unusable(self, what: str, error: OSError) -> None:
        """Leave if no connection can be taken any more: trying again would be a busy loop; a new worker can."""
        reason = explain_unusable(error)
        if reason and not self._departure.stage:
            self._master.log("error", f"{what}: {reason}; this worker leaves")
            self._departure.begin(EXIT_SOFTWARE)

    # ---------------------------------------------------------------- the way out

    def _exceed_memory(self, memory: int) -> None:
        """More than pm.max_memory: leave after this request, as if it were the last of pm.max_requests."""
        self._memory = memory
        self._set_limit(1)

    def _set_limit(self, requests: int) -> None:
        self._limit = requests
        if self._handler.hot is not None:
            self._handler.hot.set_limit(requests)

    def _reach_limit(self) -> None:
        """pm.max_requests or pm.max_memory is reached: the master hears it, makes a replacement, and then says quit."""
        self._set_limit(0)
        self._stop_accepting(replaced=True)
        self._master.send(LimitReached(self._slot.requests, self._memory))

    def _stop_accepting(self, *, replaced: bool) -> None:
        """Take nothing new; what has been taken goes to other workers, or is answered here if nobody is idle.

        Args:
            replaced: the pool goes on; the master sees to it that somebody takes what is parked.

        The listening socket and the parking socket wake one worker for each connection (EPOLLEXCLUSIVE, epoll_ctl(2)).
        If it was this one, just now, then nobody else knows of that connection: so it is taken, if it is there.
        """
        connections, slot = self._connections, self._slot
        if not self._sources.accepting:
            return
        self._sources.stop_accepting()
        if self._handler.hot is not None:
            self._handler.hot.set_accepting(False)
        last = self._sources.accept()
        if last is not None:
            connections.hold_new(last)
        slot.set_stage(Stage.END)
        if replaced:
            connections.hand_over(idle=True, serving=True, now=monotonic())
            return
        for _ in range(HANDOVERS_MAX):
            while (connection := self._sources.take_parked()) is not None:
                self._handler.take(connection)
            others = slot.others_idle(), slot.others_serving()
            connections.hand_over(*others, monotonic())
            # Whoever was there may have left meanwhile, after a last look for parked connections.
            if others == (slot.others_idle(), slot.others_serving()):
                return

    def _drain_listen_queue(self) -> bool:
        """Take what is left as the pool ends: what others have parked meanwhile, and who waits in the listen queue.

        Returns:
            False if there is nothing more to answer.
        """
        if any(connection.phase is not Phase.LINGERING for connection in self._held.values()):
            return True
        while not self._slot.others_serving() and (connection := self._sources.take_parked()) is not None:
            if connection.phase is Phase.KEPT and not connection.is_readable():
                connection.close()  # between two requests
            else:
                connection.deadline = min(connection.deadline, monotonic() + LEAVING_LIMIT)
                self._handler.take(connection)
        if self._departure.queued:
            self._departure.queued -= 1  # of a socket that stays open for others, no more than there were
            accepted = self._sources.accept()
            if accepted is not None:
                self._connections.hold_new(accepted, LEAVING_LIMIT)
        return bool(self._held)


CALLERS = (WorkerLoop._serve.__code__, ConnectionHandler._serve_compiled.__code__)
"""What calls the compiled hot path, and so the application."""
