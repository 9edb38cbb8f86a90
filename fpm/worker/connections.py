"""The connections of a worker: watched while nothing is served on them, parked for other workers, closed.

Each that is held has its deadline. Before a worker serves a request it parks the others: it sends their descriptors to
whichever worker is idle.
"""

from __future__ import annotations

import select
from time import monotonic

from fpm.fastcgi.connection import Connection
from fpm.protocol.spec import FD_LISTEN, FD_PARK_TAKE
from fpm.scoreboard.writer import SlotWriter
from fpm.worker.connection import LIMITS, Phase, WebConnection
from fpm.worker.master_channel import MasterChannel
from fpm.worker.settings import ActiveSettings
from fpm.worker.socket_io import is_readable
from fpm.worker.sources import Sources
from fpm.wsgi.environ import Environ

LEAVING_LIMIT = LIMITS[Phase.SILENT]
"""Seconds that a worker which leaves waits for a request on a connection that nobody else can take: as long as any
waits for the first byte, for on a busy machine a web server may be held up between connect(2) and its first bytes."""
KEPT_AT_ONCE = 2
SURPLUS_LIMIT = 5.0
"""A worker that holds more kept connections than KEPT_AT_ONCE closes the longest idle ones after this many seconds."""
_KEPT = Phase.KEPT
_KEPT_LIMIT = LIMITS[_KEPT]


class Connections:
    """The connections that this worker holds.

    It has many methods: each is one thing that may happen to them.

    Args:
        epoll: watches them.

    Attributes:
        held: those that are watched, by descriptor.
        sources: where they come from.
    """

    def __init__(self, epoll: select.epoll, settings: ActiveSettings, master: MasterChannel, slot: SlotWriter) -> None:
        self._epoll = epoll
        self._slot = slot
        self._settings = settings
        self._master = master
        self._unix = settings.given.listen_is_unix
        self.sources = Sources(epoll, settings, master)
        self.sources.make_room = self._make_room
        self._put = self.sources.put
        self.held: dict[int, WebConnection] = {}
        self._has_parked = False
        """A kept one had to go for the request that is being served."""
        self._has_said_full = False

    # ---------------------------------------------------------------- while they are held

    def _make_room(self, error: OSError) -> bool:
        """Make room for a new connection: close the one that has been without a whole request for the longest time."""
        silent = [held for held in self.held.values() if held.phase in (Phase.SILENT, Phase.HEAD)]
        if not silent:
            return False
        if not self._has_said_full:
            self._has_said_full = True
            what = (
                f"{len(silent)} connections have sent no request yet, and the oldest of them is closed for each new one"
            )
            self._master.log("warning", f"accept() failed: {error.strerror} ({error.errno}); {what} (rlimit_files)")
        min(silent, key=lambda held: held.deadline).close()
        return True

    def hold(self, connection: WebConnection) -> None:
        """Watch a connection, or go on watching it."""
        if connection.fd not in self.held:
            self.held[connection.fd] = connection
            connection.on_close = self.forget
            self._epoll.register(connection.fd, select.EPOLLIN)

    def hold_new(self, connection: WebConnection, limit: float | None = None) -> None:
        """Wait for the first bytes, for as long as they may take or `limit` seconds."""
        connection.enter(Phase.SILENT, monotonic())
        if limit is not None:
            connection.deadline = monotonic() + limit
        self.hold(connection)

    def forget(self, connection: WebConnection) -> None:
        """Stop watching it."""
        if self.held.pop(connection.fd, None) is not None:
            connection.on_close = None
            self._epoll.unregister(connection.fd)

    def next_deadline(self) -> float | None:
        """Find the monotonic time of the first deadline; None while nothing is held."""
        return min([connection.deadline for connection in self.held.values()], default=None)

    def close_expired(self, now: float) -> None:
        """Close those over their time, unless what they should send has come: this worker was late then."""
        expired = [held for held in self.held.values() if held.deadline <= now]
        if expired:
            poll = select.poll()
            for connection in expired:
                poll.register(connection.fd, select.POLLIN)
            late = {fd for fd, _ in poll.poll(0)}
            for connection in expired:
                if connection.fd not in late or connection.phase is Phase.LINGERING:
                    self._tell_expired(connection)
                    connection.close()

    def _tell_expired(self, connection: WebConnection) -> None:
        if connection.phase is Phase.HEAD:
            what = f"of a request's variables only a part has come within {LIMITS[Phase.HEAD]:g} seconds"
            self._master.log("warning", f"{what}; the connection is closed")

    def shorten_surplus(self, now: float) -> None:
        """Let the longest idle kept connections beyond KEPT_AT_ONCE go soon.

        Never the one just answered: the web server may be writing its next request to it already. It takes the newest
        first, so that one idle for seconds is one it does not need.
        """
        kept = [connection for connection in self.held.values() if connection.phase is Phase.KEPT]
        if len(kept) > KEPT_AT_ONCE:
            kept.sort(key=lambda connection: connection.deadline)
            for connection in kept[:-KEPT_AT_ONCE]:
                connection.deadline = min(connection.deadline, now + SURPLUS_LIMIT)

    # ---------------------------------------------------------------- around a request

    def park_others(self, served: WebConnection) -> bool:
        """Find another worker for all connections but the one on which a request is to be served.

        Not if this worker's requests have all been short for long: then they wait here rather than to go around.

        Returns:
            True if a kept one had to go: then there are more of them than workers.
        """
        self._has_parked = False
        if self._slot.is_calm():
            return False
        for connection in [held for held in self.held.values() if held is not served]:
            is_kept = connection.phase is Phase.KEPT
            self._has_parked = self._has_parked or is_kept
            if is_kept and connection.is_readable():
                connection.enter(Phase.SILENT, monotonic())  # its next request waits, and is counted among those who do
            if connection.phase is Phase.LINGERING or connection.send_to(self._put):
                continue
            if is_kept:
                connection.close()
        return self._has_parked

    def may_keep(self, connection: WebConnection, environ: Environ) -> bool:
        """Decide whether a connection may be kept, before its answer ends.

        A worker keeps one, and only if nobody waits whom no other worker would take. Later, while it is idle, it could
        not be given up without harm: the next request may be on its way. At the end of an answer it can, where it can
        be said (fpm.fastcgi.records.pack_refusal): by nginx it is understood.

        Args:
            environ: tells which web server it is.
        """
        has_parked, self._has_parked = self._has_parked, False
        if not self.sources.accepting or not str(environ.get("SERVER_SOFTWARE")).startswith("nginx"):
            return True  # a worker that leaves hands it over, or closes it
        if has_parked or len(self.held) > (connection.fd in self.held):
            return False
        return self._slot.others_idle() or not (is_readable(FD_LISTEN) or is_readable(FD_PARK_TAKE))

    def release(self, connection: WebConnection, machine: Connection | None, *, keep: bool) -> None:
        """The answer is complete and the application goes on: the web server must not wait for this worker.

        Args:
            keep: the web server may send another request; else it only gets to know that the answer has ended.
        """
        if not keep:
            connection.half_close()
            return
        self._keep(connection, machine)
        if not connection.send_to(self._put):
            connection.close()

    def settle(self, connection: WebConnection, machine: Connection | None, keep: bool) -> bool:
        """Decide what becomes of a connection after a request: kept, closed, or closed when its peer has read all.

        Returns:
            True if it is kept, for another request here.
        """
        if connection.fd < 0:
            return False  # it was released before the work after the response
        if keep and self.sources.accepting:
            self._keep(connection, machine)
            return True
        if machine is None and self._unix:
            connection.close()  # all that the peer sent has been read, so this resets nothing
        else:
            self.linger(connection)
        return False

    def linger(self, connection: WebConnection) -> None:
        """Half-close a connection and watch for the peer to close it.

        Closing at once would, with unread bytes about, reset the connection and take the answer from the peer.
        """
        self.forget(connection)
        connection.half_close()
        if connection.drain():
            connection.close()
        else:
            connection.enter(Phase.LINGERING, monotonic())
            self.hold(connection)

    def pass_on(self, connection: WebConnection) -> bool:
        """Give a kept connection on which the next request has begun to come to whichever worker is idle, if it can be.

        That may be this one: after whoever else has been waiting for it, and a message of the master.
        """
        return connection.machine is not None and connection.send_to(self._put)

    def hand_over(self, idle: bool, serving: bool, now: float) -> None:
        """Give the connections to others, as this worker takes nothing new.

        One on which a request may be on its way stays if nobody is idle, and is served here.

        Args:
            idle: another worker is idle.
            serving: another worker is there, busy or not.
            now: monotonic seconds.
        """
        for connection in list(self.held.values()):
            is_kept = connection.phase is Phase.KEPT
            is_wanted = idle or (serving and is_kept)
            if connection.phase is Phase.LINGERING or (is_wanted and connection.send_to(self._put)):
                continue
            if is_kept and not connection.is_readable():
                connection.close()
            else:
                connection.deadline = min(connection.deadline, now + LEAVING_LIMIT)

    def _keep(self, connection: WebConnection, machine: Connection | None) -> None:
        connection.phase = _KEPT
        connection.deadline = monotonic() + _KEPT_LIMIT
        if machine is not None:
            connection.machine = None if machine.clean else machine
            connection.raw = b"" if connection.machine is None else connection.machine.unread
        if connection.on_close is None:
            self.hold(connection)
            self.sources.step_back()
