"""The status process as the master sees it: executed when there is an address to answer at, fed with snapshots.

What it says is believed as little as a pool's word: it may ask for snapshots, at the cost of its share.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
import time
from collections import deque
from collections.abc import Callable
from signal import Signals
from typing import Any

from fpm.config.model import ListenAddress
from fpm.master.loop.channel import Channel
from fpm.master.loop.fair_reader import FairReader
from fpm.master.loop.output import OutputReader
from fpm.master.loop.share import Share
from fpm.master.loop.timers import NamedTimers
from fpm.master.pool.restarts import YOUNG
from fpm.master.pool.restarts import Backoff
from fpm.master.pool.restarts import after_template_failure
from fpm.master.processes.exits import parse_status
from fpm.master.processes.spawn import spawn
from fpm.master.services import Services
from fpm.master.status.sockets import StatusSockets
from fpm.pool.bundle import sealed_memfd
from fpm.status_server import FD_CHANNEL
from fpm.status_server.site import SiteSpec

USER = "nobody"
NOBODY = 65534
"""Where there is no such user (the kernel's overflow id, proc(5))."""
WINDOW = 16
"""Sockets on their way: their messages, and the descriptors in them, must fit into the channel."""
LINE_MAX = 1024

TakeSnapshot = Callable[[str | None, bool], bytes]
"""Pool (None: all) and whether with workers."""


class StatusProcess:
    """Keeps it running while there are addresses."""

    def __init__(self, services: Services, snapshot: TakeSnapshot) -> None:
        self._services = services
        self._snapshot = snapshot
        self.sockets = StatusSockets(self._on_sockets)
        self.pid = 0
        self._started = 0.0
        self._channel: Channel | None = None
        self._reader: FairReader | None = None
        self._outputs: list[OutputReader] = []
        self._share = Share()
        self._told: dict[ListenAddress, tuple[int, SiteSpec]] = {}
        """What the process knows: the socket (our descriptor's number) and what is there."""
        self._unsent: deque[ListenAddress] = deque()
        self._on_the_way = 0
        self._backoff = Backoff()
        self._timers = NamedTimers(services.loop)
        self._closed = False

    def close(self) -> None:
        """End it and close the sockets."""
        self._closed = True
        self._timers.cancel_all()
        pid = self.pid
        if pid:
            self._services.reapers.pop(pid, None)
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, Signals.SIGKILL)
                os.waitpid(pid, 0)
        self._forget()
        self.sockets.close()

    # ---------------------------------------------------------------- the process

    def _on_sockets(self) -> None:
        if not self.sockets.specs:
            self._stop()
        elif not self.pid:
            self._start()
        else:
            self._tell()

    def _start(self) -> None:
        if self._closed or self.pid or not self.sockets.specs or "start" in self._timers:
            return
        channel = Channel()
        loop, log = self._services.loop, self._services.log
        output = OutputReader(
            loop, self._share, lambda line, closed: log.warning(f"the status process said: {line}"), LINE_MAX
        )
        # -P: not the fpm of the directory that the daemon happens to stand in.
        arguments = [sys.executable, "-P", "-m", "fpm.status_server", *_identity()]
        placed = {FD_CHANNEL: channel.peer.fileno(), 1: output.write_fd, 2: output.write_fd}
        try:
            self.pid = spawn(arguments, placed, {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
        except OSError as error:
            channel.close()
            output.finish()
            log.error(f"cannot start the status process: {error.strerror}")
            self._start_later()
            return
        channel.close_peer()
        output.close_writer()
        self._started = loop.now
        self._channel, self._outputs = channel, [output]
        self._services.reapers[self.pid] = self._ended
        self._reader = FairReader(loop, self._share, channel.fd, self._on_channel, timed=False)
        self._tell()

    def _stop(self) -> None:
        """It reads end of file, and leaves."""
        self._timers.cancel("start")
        self._backoff = Backoff()
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, Signals.SIGKILL)

    def _ended(self, status: int) -> None:
        self.pid = 0
        self._forget()
        if self._closed or not self.sockets.specs:
            return
        self._services.log.warning(f"the status process exited {parse_status(status)}; it is started anew")
        self._start_later()

    def _start_later(self) -> None:
        now = self._services.loop.now
        if now - self._started >= YOUNG:
            self._backoff = Backoff()
        self._backoff = after_template_failure(self._backoff, now)
        self._timers.set("start", self._backoff.until - now, self._start)

    def _forget(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        for output in self._outputs:
            output.finish()
        self._outputs = []
        self._told.clear()
        self._unsent.clear()
        self._on_the_way = 0

    # ---------------------------------------------------------------- what it is told

    def _tell(self) -> None:
        """The difference between what it knows and what it should know."""
        sockets = self.sockets
        for address in self._told.keys() - sockets.specs.keys():
            del self._told[address]
            if self._channel is not None:
                self._channel.send({"command": "forget", "address": str(address)})
        for address, spec in sockets.specs.items():
            known = (sockets.listeners[address].socket.fileno(), spec)
            if self._told.get(address) != known and address not in self._unsent:
                self._unsent.append(address)
        self._send_some()

    def _send_some(self) -> None:
        while self._unsent and self._on_the_way < WINDOW and self._channel is not None:
            address = self._unsent.popleft()
            spec, listener = self.sockets.specs.get(address), self.sockets.listeners.get(address)
            if spec is None or listener is None:
                continue
            fd = listener.socket.fileno()
            message = {"command": "serve", "address": str(address), "site": spec.as_message()}
            if self._channel.send(message, [fd]):
                self._told[address] = (fd, spec)
                self._on_the_way += 1

    # ---------------------------------------------------------------- what it asks

    def _on_channel(self) -> None:
        if self._channel is None:
            return
        messages, alive = self._channel.receive(self._share)
        for received in messages:
            message = received.message
            if "took" in message:
                self._on_the_way = max(self._on_the_way - 1, 0)
            elif isinstance(message.get("ask"), int):
                self._answer(message["ask"], message)
        if not alive and self._reader is not None:
            self._reader.close()
            self._reader = None
        self._send_some()

    def _answer(self, number: int, message: dict[str, Any]) -> None:
        if self._channel is None:
            return
        name = message.get("pool")
        begin = time.thread_time()
        try:
            fd = sealed_memfd(
                "pyfpm-status", self._snapshot(name if isinstance(name, str) else None, bool(message.get("workers")))
            )
        except OSError as error:  # no descriptors or no memory left
            self._channel.send({"answer": number, "error": str(error)})
            return
        try:
            cost = time.thread_time() - begin
            self._share.spend(cost, self._services.loop.now)
            self._channel.send({"answer": number, "cost": cost}, [fd])
        finally:
            os.close(fd)


def _identity() -> list[str]:
    """The user that it becomes, as arguments; nothing where the master is not root."""
    if os.geteuid() != 0:
        return []
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        return [str(NOBODY), str(NOBODY)]
    return [str(entry.pw_uid), str(entry.pw_gid)]
