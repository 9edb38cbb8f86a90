"""The status process itself: accepts, gives each client a thread, listens to the master; asleep when nobody asks."""

from __future__ import annotations

import select
import socket
import threading
import time
from typing import Any

from fpm.protocol.status import SiteSpec
from fpm.protocol.wire import MESSAGE_MAX, pack_message, unpack_message
from fpm.status_server.protocols import Visit
from fpm.status_server.site import Site
from fpm.status_server.snapshot_cache import Looks
from fpm.system.descriptors import take_descriptor

VISITS_MAX = 64
"""Clients at once; the one that has been silent longest makes room."""
VISIT_TIME = 30.0
"""Seconds from a request to the next, or from the connection to the first."""
LOOK_EVERY = 5.0
"""Seconds between looks at who has been connected for too long, while somebody is."""


class Server:
    """The main thread's part."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._looks = Looks(channel)
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._sites: dict[int, tuple[str, socket.socket, Site]] = {}
        """By the listening socket's descriptor: the address as the master writes it, the socket, what is there."""
        self._visits: set[Visit] = set()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Until the master is gone."""
        while True:
            for fd, _ in self._poll.poll(LOOK_EVERY * 1000 if self._visits else None):
                if fd == self._channel.fileno():
                    if not self._obey():
                        return
                elif fd in self._sites:
                    self._accept(fd)
            self._end_old()

    def _obey(self) -> bool:
        """One message of the master; False: there will be no more."""
        data, ancillary, _, _ = self._channel.recvmsg(MESSAGE_MAX, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        message, fd = unpack_message(data), take_descriptor(ancillary)
        if "answer" in message:
            self._looks.receive(message, fd)
        elif message.get("command") == "serve" and fd is not None:
            self._serve(str(message["address"]), message["site"], fd)
            self._channel.send(pack_message({"took": message["address"]}), socket.MSG_NOSIGNAL)
        elif message.get("command") == "forget":
            self._forget(str(message["address"]))
        return True

    def _serve(self, address: str, spec: dict[str, Any], fd: int) -> None:
        self._forget(address)
        listening = socket.socket(fileno=fd)
        listening.setblocking(False)
        self._sites[fd] = (address, listening, Site(SiteSpec(**spec), self._looks.look, self._looks.watch))
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
        visit = Visit(client, address, site)
        with self._lock:
            self._visits.add(visit)
        threading.Thread(target=self._run_visit, args=(visit,), daemon=True).start()

    def _has_room(self) -> bool:
        """Whether one more client may come; if there are many, the one that has been silent longest is sent away."""
        with self._lock:
            if len(self._visits) >= VISITS_MAX:
                min(self._visits, key=lambda visit: visit.since).end()
            return len(self._visits) < 2 * VISITS_MAX  # they take a moment to go

    def _run_visit(self, visit: Visit) -> None:
        try:
            visit.run()
        finally:
            with self._lock:
                self._visits.discard(visit)

    def _end_old(self) -> None:
        oldest = time.monotonic() - VISIT_TIME
        with self._lock:
            old = [visit for visit in self._visits if visit.since < oldest]
        for visit in old:
            visit.end()
