"""The status process as the master sees it: executed when there is an address to answer at, fed with snapshots.

What it says is believed as little as a pool's word: it may ask for snapshots, at the cost of its share.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from fpm.config.model import ListenAddress
from fpm.events.master import HelperStuck, StatusMessageInvalid
from fpm.master.listening.status_listeners import StatusListeners
from fpm.master.processes.bundle import sealed_memfd
from fpm.master.processes.helper_process import HelperProcess, Owner
from fpm.master.services import Services
from fpm.master.status.heartbeat import Heartbeat
from fpm.master.status.identity import status_ids
from fpm.protocol.status import (
    AddressTaken,
    AnswerAt,
    LeaveAddress,
    Ping,
    Pong,
    SiteSpec,
    SnapshotTaken,
    SnapshotWanted,
    as_message,
    read_report,
)
from fpm.protocol.wire import MessageError

NAME = "the status process"
"""For messages."""
WINDOW = 16
"""Sockets on their way: their messages, and the descriptors in them, must fit into the channel."""

TakeSnapshot = Callable[[str | None, bool], bytes]
"""Pool (None: all) and whether with workers."""


class StatusProcess:
    """Keeps the status process running while there are addresses."""

    def __init__(
        self, services: Services, listeners: StatusListeners, snapshot: TakeSnapshot, prepare: Callable[[], None]
    ) -> None:
        """
        Args:
            prepare: called before each snapshot; what it costs is bounded elsewhere and does not count.
        """
        self._services = services
        self._snapshot = snapshot
        self._prepare = prepare
        self._listeners = listeners
        listeners.on_change = self._on_change
        owner = Owner(lambda: bool(self._listeners.specs), self._begin, self._on_message, self._send_some, self._forget)
        self._process = HelperProcess(services, NAME, "fpm.status_server", owner, self._arguments)
        self._heartbeat = Heartbeat(services.loop, lambda: self._process.send(as_message(Ping())), self._replace)
        self._ids: tuple[int, int] | None = None
        """As whom it runs; None: as the master, or not yet."""
        self._told: dict[ListenAddress, tuple[int, SiteSpec]] = {}
        """What the process has been given: the socket (our descriptor's number) and what is there."""
        self._unsent: deque[ListenAddress] = deque()
        self._on_the_way = 0

    def close(self) -> None:
        """End it and close the sockets."""
        self._process.close()
        self._listeners.close()

    def _on_change(self) -> None:
        if not self._listeners.specs or self._shares_a_user:
            self._process.stop()
        if self._process.is_open:
            self._tell()
        else:
            self._process.start()  # after a stop as somebody else, when it has ended

    def _begin(self) -> None:
        self._heartbeat.start()
        self._tell()

    def _replace(self) -> None:
        """End one that does not answer; another is started."""
        self._services.emit(HelperStuck(NAME))
        self._process.kill()

    @property
    def _shares_a_user(self) -> bool:
        return self._ids is not None and self._ids[0] in self._listeners.users

    def _arguments(self) -> list[str]:
        """Return the user and group that it becomes, as arguments; nothing where the master is not root."""
        if os.geteuid() != 0:
            return []
        if self._ids is None or self._shares_a_user:
            self._ids = status_ids(self._listeners.users)
        return [str(number) for number in self._ids]

    def _forget(self) -> None:
        self._heartbeat.stop()
        self._told.clear()
        self._unsent.clear()
        self._on_the_way = 0

    # ---------------------------------------------------------------- what it is told

    def _tell(self) -> None:
        """Send the difference between what it has and what it should have."""
        listeners = self._listeners
        for address in self._told.keys() - listeners.specs.keys():
            del self._told[address]
            self._process.send(as_message(LeaveAddress(str(address))))
        for address, spec in listeners.specs.items():
            known = (listeners.listeners[address].socket.fileno(), spec)
            if self._told.get(address) != known and address not in self._unsent:
                self._unsent.append(address)
        self._send_some()

    def _send_some(self) -> None:
        while self._unsent and self._on_the_way < WINDOW and self._process.is_open:
            address = self._unsent.popleft()
            spec, listener = self._listeners.specs.get(address), self._listeners.listeners.get(address)
            if spec is None or listener is None:
                continue
            fd = listener.socket.fileno()
            if self._process.send(as_message(AnswerAt(str(address), spec)), [fd]):
                self._told[address] = (fd, spec)
                self._on_the_way += 1

    # ---------------------------------------------------------------- what it asks

    def _on_message(self, message: dict[str, Any]) -> None:
        try:
            report = read_report(message)
        except MessageError as error:
            self._services.emit(StatusMessageInvalid(str(error)))
            return
        self._heartbeat.answered()
        if isinstance(report, Pong):
            return
        if isinstance(report, AddressTaken):
            self._on_the_way = max(self._on_the_way - 1, 0)
        else:
            self._answer(report)

    def _answer(self, wanted: SnapshotWanted) -> None:
        self._prepare()
        begin = time.thread_time()
        try:
            fd = sealed_memfd("pyfpm-status", self._snapshot(wanted.pool, wanted.workers))
        except OSError as error:  # no descriptors or no memory left
            self._process.send(as_message(SnapshotTaken(wanted.number, error=str(error))))
            return
        try:
            cost = time.thread_time() - begin
            self._process.send(as_message(SnapshotTaken(wanted.number, cost)), [fd])
        finally:
            os.close(fd)
