"""The status process itself: accepts, gives each client a thread, listens to the master.

It is asleep when nobody asks, but for a sample every five seconds if it keeps the history.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from contextlib import suppress

from fpm.protocol.status import (
    AddressTaken,
    AnswerAt,
    HistorySaved,
    HistoryTaken,
    HistoryWanted,
    KeepHistory,
    LeaveAddress,
    Ping,
    Pong,
    SaveHistory,
    SnapshotTaken,
    as_message,
    read_command,
)
from fpm.protocol.wire import MESSAGE_MAX, pack_message, unpack_message
from fpm.status_server.history_file import HistoryFile
from fpm.status_server.protocols import ClientConnection
from fpm.status_server.sampling import Sampler
from fpm.status_server.site import MasterSilent, Site
from fpm.status_server.snapshot_cache import SnapshotCache
from fpm.system.descriptors import take_descriptor

CLIENTS_MAX = 64
"""Clients at once; the one that has been silent longest is disconnected for a new one."""
CLIENT_TIME = 30.0
"""Seconds from a request to the next, or from the connection to the first."""
CHECK_EVERY = 5.0
"""Seconds between checks for clients that have been connected for too long."""


class Server:
    """Owns the sockets and the channel to the master; runs in the main thread."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._cache = SnapshotCache(channel)
        self._sampler: Sampler | None = None
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._sites: dict[int, tuple[str, socket.socket, Site]] = {}
        """By the listening socket's descriptor: the address as the master writes it, the socket, what is there."""
        self._clients: set[ClientConnection] = set()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Serve until the master is gone."""
        while True:
            for fd, _ in self._poll.poll(CHECK_EVERY * 1000 if self._clients else None):
                if fd == self._channel.fileno():
                    if not self._obey():
                        if self._sampler is not None:
                            self._sampler.save()
                        return
                elif fd in self._sites:
                    self._accept(fd)
            self._end_old()

    def _obey(self) -> bool:
        """Carry out one message of the master; False: there will be no more."""
        data, ancillary, _, _ = self._channel.recvmsg(MESSAGE_MAX, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        command, fd = read_command(unpack_message(data)), take_descriptor(ancillary)
        if isinstance(command, SnapshotTaken):
            self._cache.receive(command, fd)
        elif isinstance(command, LeaveAddress):
            self._forget(command.address)
        elif isinstance(command, KeepHistory):
            file = HistoryFile(fd, command.path) if fd is not None else None
            self._sampler = Sampler(self._cache, file, lambda: self._tell(HistorySaved()))
            self._sampler.start()
        elif isinstance(command, HistoryWanted):
            threading.Thread(target=self._tell_history, args=(command, fd), daemon=True).start()
        elif isinstance(command, SaveHistory):
            if self._sampler is not None:
                self._sampler.save_soon()
        elif isinstance(command, Ping):
            self._tell(Pong())
        elif fd is not None:
            self._serve(command, fd)
            self._tell(AddressTaken(command.address))
        return True

    def _tell_history(self, wanted: HistoryWanted, fd: int | None) -> None:
        """Write the past into the master's file, in a thread of its own, as it needs a snapshot."""
        if fd is None:
            return
        is_known = False
        try:
            with suppress(MasterSilent), open(fd, "wb", closefd=True) as file:
                file.write(self._cache.read_past(wanted.pool, points=wanted.points))
                is_known = True
        except OSError:
            is_known = False  # there is no memory left
        self._tell(HistoryTaken(wanted.number, is_known))

    def _tell(self, report: AddressTaken | HistorySaved | HistoryTaken | Pong) -> None:
        with suppress(OSError):  # the master has gone, as the channel's end will tell
            self._channel.send(pack_message(as_message(report)), socket.MSG_NOSIGNAL)

    def _serve(self, command: AnswerAt, fd: int) -> None:
        self._forget(command.address)
        listening = socket.socket(fileno=fd)
        listening.setblocking(False)
        self._sites[fd] = (command.address, listening, Site(command.site, self._cache.read))
        self._poll.register(fd, select.POLLIN)

    def _forget(self, address: str) -> None:
        for fd, (known, listening, _) in list(self._sites.items()):
            if known == address:
                self._poll.unregister(fd)
                del self._sites[fd]
                listening.close()

    def _accept(self, fd: int) -> None:
        _, listening, site = self._sites[fd]
        try:
            client, peer = listening.accept()
        except OSError:
            return  # it has gone again, or no descriptor is left: the next turn tries again
        address = peer[0] if isinstance(peer, tuple) else ""
        if not site.may_connect(address) or not self._has_room():
            client.close()
            return
        connection = ClientConnection(client, address, site)
        with self._lock:
            self._clients.add(connection)
        threading.Thread(target=self._run_client, args=(connection,), daemon=True).start()

    def _has_room(self) -> bool:
        """Return whether one more client may come; of many, the one that has been silent longest is disconnected."""
        with self._lock:
            if len(self._clients) >= CLIENTS_MAX:
                min(self._clients, key=lambda connection: connection.since).end()
            return len(self._clients) < 2 * CLIENTS_MAX  # they take a moment to go

    def _run_client(self, connection: ClientConnection) -> None:
        try:
            connection.run()
        finally:
            with self._lock:
                self._clients.discard(connection)

    def _end_old(self) -> None:
        oldest = time.monotonic() - CLIENT_TIME
        with self._lock:
            old = [connection for connection in self._clients if connection.since < oldest]
        for connection in old:
            connection.end()
