"""The status process as the master sees it: executed when there is an address to answer at or a past to keep,
fed with snapshots.

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
from fpm.master.status.history_keeper import HistoryKeeper
from fpm.master.status.identity import status_ids
from fpm.protocol.status import (
    AddressTaken,
    AnswerAt,
    HistorySaved,
    HistoryTaken,
    LeaveAddress,
    Ping,
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

PATIENCE = 2.0
"""Seconds to wait for the process to save the past and leave."""
PATIENCE_IN_HASTE = 0.5
"""The same when the master stops at once."""
LAST_PATIENCE = 0.25
"""Part of it that is left for leaving, however long the stop has lasted."""

TakeSnapshot = Callable[[str | None, bool], bytes]
"""Pool (None: all) and whether with workers."""


class StatusProcess:
    """Keeps the status process running while there are addresses, or a history is to be kept.

    It has more methods than other classes: what the process is told, what it asks, and how it leaves.
    """

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
        owner = Owner(lambda: self._is_wanted, self._begin, self._on_message, self._send_some, self._forget)
        self._process = HelperProcess(services, NAME, "fpm.status_server", owner, self._arguments)
        self._heartbeat = Heartbeat(services.loop, lambda: self._process.send(as_message(Ping())), self._kill)
        self.history = HistoryKeeper(services, self._process.send)
        self._ids: tuple[int, int] | None = None
        """As whom it runs; None: as the master, or not yet."""
        self._told: dict[ListenAddress, tuple[int, SiteSpec]] = {}
        """What the process has been given: the socket (our descriptor's number) and what is there."""
        self._unsent: deque[ListenAddress] = deque()
        self._on_the_way = 0
        self._is_needed = True
        """The master has not stopped so far that it can do without."""
        self._has_ended_past = self._is_leaving = False
        """It has been asked to save what was counted until the last process of a pool ended; it is let go."""
        self._patience = PATIENCE
        self._leave_until = 0.0

    def begin_stop(self, *, in_haste: bool) -> None:
        """Have the past saved, while the pools' processes end; meanwhile it goes on answering."""
        self._patience = PATIENCE_IN_HASTE if in_haste else PATIENCE
        self._leave_until = self._services.loop.now + self._patience
        self.history.save(self._patience, self._give_up)
        # If a graceful stop has come to an end, and somebody is in a hurry:
        self._has_ended_past = self._is_leaving = False

    def leave(self) -> None:
        """Let it go, once; what has been counted since it has saved is saved, too. Never waits, see `is_there`."""
        self._is_needed = False
        if self._is_leaving or self.history.is_saving:
            return
        left = max(self._leave_until - self._services.loop.now, LAST_PATIENCE * self._patience)
        if not self._has_ended_past:
            self._has_ended_past = True
            self.history.save(left, self._process.kill)
        if not self.history.is_saving:
            self._is_leaving = True
            self._process.stop(left if self.history.is_kept else 0.0)

    @property
    def is_there(self) -> bool:
        """Return whether it has not ended."""
        return self._process.pid != 0

    def _give_up(self) -> None:
        self._services.emit(HelperStuck(NAME))
        self._is_needed, self._is_leaving = False, True
        self._process.stop()

    def close(self) -> None:
        """End it and close the sockets."""
        self.history.close()
        self._process.close()
        self._listeners.close()

    def dump(self) -> int:
        """Describe the process for the next master, to whom it is of no use: it leaves, as its channel ends."""
        return self._process.pid

    def restore(self, pid: int) -> None:
        """See that the former master's process leaves; it holds the file of the past until then."""
        if pid:
            self._process.await_end(pid, PATIENCE)

    def master_ready(self) -> None:
        """Have a history from now on, if one is wanted."""
        self.history.master_ready(self._process.start)

    def settings_changed(self) -> None:
        """Act on a changed [global] section."""
        if self._process.is_open and self.history.is_outdated:
            self._replace()
        self._on_change()

    @property
    def _is_wanted(self) -> bool:
        return self._is_needed and (bool(self._listeners.specs) or self.history.is_wanted)

    def _on_change(self) -> None:
        if not self._is_wanted or self._shares_a_user:
            self._replace()
        if self._process.is_open:
            self._tell()
        else:
            self._process.start()  # after a stop as somebody else, when it has ended

    def _begin(self) -> None:
        self._heartbeat.start()
        self.history.begin()
        self._tell()

    def _replace(self) -> None:
        """End one that is not wanted any more as it is, when it has saved the past; maybe another is started."""
        self._process.stop(PATIENCE if self.history.is_kept else 0.0)

    def _kill(self) -> None:
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
        self.history.forget()
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
        self.history.heard()
        if isinstance(report, AddressTaken):
            self._on_the_way = max(self._on_the_way - 1, 0)
        elif isinstance(report, HistoryTaken):
            self.history.taken(report)
        elif isinstance(report, HistorySaved):
            self.history.saved()
        elif isinstance(report, SnapshotWanted):
            self._answer(report)

    def _answer(self, wanted: SnapshotWanted) -> None:
        if wanted.memory:
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
