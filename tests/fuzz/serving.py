"""Has the hot path serve an application that does what none should, to peers that do the same.

The workers are this process: their loops are not run but turned, so that nothing happens that was not asked for.
"""

from __future__ import annotations

import os
import re
import select
import socket
import threading
import time
from collections.abc import Callable
from random import Random
from types import ModuleType
from typing import Any

from fpm.protocol import spec
from fpm.protocol.messages import unpack_event
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.reading import read_slot
from fpm.scoreboard.route_table import RouteTable
from fpm.scoreboard.statistics import HISTOGRAMS, Statistics, read_statistics
from fpm.scoreboard.writer import SlotWriter, compile_writer
from fpm.worker.accounting import Accounting
from fpm.worker.answer_sender import LOOK_AFTER
from fpm.worker.connection import Phase, WebConnection
from fpm.worker.connections import Connections
from fpm.worker.last_word import LastWord
from fpm.worker.loop import WorkerLoop
from fpm.worker.master_channel import MasterChannel
from fpm.worker.service import Service
from fpm.worker.settings import ActiveSettings
from fpm.worker.status_pages import StatusPages
from fpm.wsgi import head
from tests.apps.odd import Odd
from tests.fuzz.inputs import Inputs
from tests.support import raw_fastcgi as raw
from tests.support.odd_plans import make_plan, quote_plan
from tests.support.worker_main import place_descriptors
from tests.support.worker_process import worker_settings

SLOTS = 4
COMPARE_EVERY = 20
FORMAT = '%r %m %q %s %l %u "%{Set-Cookie}o" "%{Content-Length}o" "%{X-A}o"'
PEERS = [*["usual"] * 24, "gone", "half", "abort", "second", "garbage", "slow", "new", "new", "new", "parts"]
EXTRA = {"abort": raw.record(raw.ABORT), "second": raw.request_bytes({}, request=2), "garbage": b"\xff" * 20}
"""What comes while the request is being served."""
LOOKED_AT = {"gone", "half", *EXTRA}
"""Nobody looks at the peer of a request that takes no time: these take long enough."""
METHODS = ["GET", "GET", "GET", "HEAD", "POST", ""]
_NOW = time.time()
STARTS = ["", "", f"{_NOW:.3f}", f"t={_NOW:.6f}", f"{_NOW * 1e3:.0f}", f"t={_NOW * 1e6:.0f}", f"-{_NOW}", "1", "\xb2"]
"""What web servers say of when a request came."""
OUR_FRAME = re.compile(r'  File "[^"]*/fpm/[^"]*".*\n(?:    .*\n)*')
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
SMALL_BUFFER = 4608
ENOUGH = 1 << 20


def make_surroundings() -> tuple[Scoreboard, str]:
    """Make what a worker has from its master, where it looks for it; not for a process that does anything else.

    Returns:
        The scoreboard and the listening socket's address.
    """
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")  # the kernel chooses a name
    listener.listen()
    listener.setblocking(False)
    address = listener.getsockname()
    park = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    given = {
        "scoreboard": Scoreboard.create(SLOTS).fd,
        "wake": os.eventfd(0, os.EFD_NONBLOCK),
        "park_take": park[0].detach(),
        "park_put": park[1].detach(),
        "listen": listener.detach(),
    }
    place_descriptors(given)
    return Scoreboard.attach(spec.FD_SCOREBOARD, SLOTS), address


class Side:
    """A worker, with or without the hot path, and its master's end of everything."""

    def __init__(self, board: Scoreboard, address: str, index: int, module: ModuleType | None) -> None:
        self._board, self._index, self._address = board, index, address
        given = worker_settings("odd:application", slots=SLOTS, has_access_log=True, access_format=FORMAT)
        settings, self._app = ActiveSettings(given), Odd()
        writer = (SlotWriter if module is None else compile_writer(module))(board, index, pid=1, started=1.0, script="")
        self._messages, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._messages.setblocking(False)
        self._requests, self._statistics = 0, Statistics()
        self._log = os.memfd_create("access")
        master, self._epoll = MasterChannel(channel), select.epoll()
        self._connections = Connections(self._epoll, settings, master, writer)
        accounting = Accounting(settings, writer, master, self._log)
        accounting.count_routes(RouteTable if module is None else module.Routes, board.routes(index))
        pages = StatusPages(settings, board)
        parts = (writer, master, self._connections, accounting, pages, LastWord(None))
        self._loop = WorkerLoop(Service(self._app, settings, *parts), self._epoll, module)
        self._loop.begin_accepting()
        self._handler = self._loop._handler
        self._wait = self._epoll.poll if self._handler.hot is None else self._handler.hot.run

    def try_out(self, data: bytes, peer: str) -> tuple[Any, ...]:
        """Serve a request, and return all that can be seen of it.

        Args:
            data: its bytes.
            peer: what the web server does, one of PEERS.
        """
        if peer in ("new", "parts"):
            client, connection = self._come(data, len(data) if peer == "new" else len(data) // 2), None
        else:
            ours, client = socket.socketpair()
            ours.setblocking(False)
            connection = WebConnection(self._arrange(peer, ours, client))
        reader = Reader(client) if peer == "slow" else None
        if connection is not None:
            self._handler.receive(connection, data)
        is_open = any(held.phase is not Phase.LINGERING for held in self._connections.held.values())
        for held in list(self._connections.held.values()):
            held.close()
        while (parked := self._connections.sources.take_parked()) is not None:
            parked.close()
            is_open = True
        answer = b"" if client.fileno() < 0 else read_rest(client) if reader is None else reader.finish()
        client.close()
        return answer, is_open, self._take_diary(), self._take_messages(), self._take_lines(), self._slot()

    def _arrange(self, peer: str, ours: socket.socket, client: socket.socket) -> int:
        if peer == "gone":
            client.close()
        elif peer == "half":
            client.shutdown(socket.SHUT_WR)
        elif peer == "slow":
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        elif peer in EXTRA:
            client.send(EXTRA[peer])
        return ours.detach()

    def _come(self, data: bytes, first: int) -> socket.socket:
        """Connect to the listening socket, and send the request in one or two parts."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(self._address)
        for part in (data[:first], data[first:]):
            if part:
                client.settimeout(1.0)
                try:
                    client.send(part)
                except OSError:  # it was closed for the first part
                    break
                self._turn()
        return client

    def _turn(self) -> None:
        """Do what the loop does with its events."""
        for fd, _ in self._wait(0.0):
            if fd == spec.FD_LISTEN:
                self._handler.take_new(1, lambda before: False)
            elif fd in self._connections.held:
                self._handler.read(self._connections.held[fd])

    def _take_diary(self) -> list[str]:
        diary, self._app.diary = self._app.diary, []
        return diary

    def _take_messages(self) -> list[str]:
        found = []
        while True:
            try:
                text = str(unpack_event(self._messages.recv(1 << 18)))
            except BlockingIOError:
                return found
            found.append(ADDRESS.sub("0x", OUR_FRAME.sub("", text.replace("\\n", "\n"))))

    def _take_lines(self) -> bytes:
        size = os.lseek(self._log, 0, os.SEEK_CUR)
        os.lseek(self._log, 0, os.SEEK_SET)
        lines = os.read(self._log, size)
        os.lseek(self._log, 0, os.SEEK_SET)
        return lines

    def _slot(self) -> tuple[Any, ...]:
        slot = read_slot(self._board.view, SLOTS, self._index)
        before, self._requests = self._requests, slot.requests
        if slot.requests == before:
            return ()
        return slot.method, slot.uri, slot.query, slot.user, slot.slow_requests, self._count(slot.requests)

    def _count(self, requests: int) -> tuple[int, ...]:
        """Return what the request has added to the statistics: to the classes, the aborted ones, and each histogram."""
        with self._board.statistics(self._index) as block:
            found = read_statistics(block)
        before, self._statistics = self._statistics, found
        assert sum(found.classes) + found.aborted == requests == found.response.count == found.cpu.count
        new = found - before
        return (*new.classes, new.aborted, *(getattr(new, name).count for name in HISTOGRAMS))

    def forget(self) -> None:
        """Forget what depends on the requests before."""
        self._app.kept.clear()


def read_rest(client: socket.socket) -> bytes:
    """Read what has come; the other end is closed."""
    answer = b""
    while len(answer) < ENOUGH:
        try:
            block = client.recv(1 << 17)
        except ConnectionResetError:
            return answer + b"(reset)"
        if not block:
            break
        answer += block
    return answer


class Reader(threading.Thread):
    """Reads what a worker sends who waits for that."""

    def __init__(self, client: socket.socket) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._answer = b""
        self.start()

    def run(self) -> None:
        self._answer = read_rest(self._client)

    def finish(self) -> bytes:
        """Return all of it; the other end is closed."""
        self.join(60)
        assert not self.is_alive(), "the connection was not closed"
        return self._answer


class Serving:
    """Two workers, of which one is compiled, and what came of it."""

    def __init__(self, random: Random, module: ModuleType, note: Callable[[bytes], None]) -> None:
        self._random, self._note = random, note
        self._inputs = Inputs(random)
        surroundings = make_surroundings()
        self._compiled, self._plain = (Side(*surroundings, index, one) for index, one in enumerate((module, None)))
        self.done = self.compared = 0
        self.seconds = 0.0

    def step(self) -> None:
        """Try one more request.

        Raises:
            AssertionError: plain Python answers differently.
        """
        started, random = time.monotonic(), self._random
        peer = random.choice(PEERS)
        data = self._make(peer)
        self._note(data)
        self.done += 1
        is_compared = self.done % COMPARE_EVERY == 0
        if is_compared:
            self._forget()
        compiled = self._compiled.try_out(data, peer)
        if is_compared:
            self.compared += 1
            self._forget()
            plain = self._plain.try_out(data, peer)
            assert compiled == plain, (
                f"{data!r} of a peer that is {peer} is answered\n{compiled}, and in plain Python\n{plain}"
            )
        self.seconds += time.monotonic() - started

    def _make(self, peer: str) -> bytes:
        random = self._random
        is_looked_at = peer in LOOKED_AT
        if not is_looked_at and random.random() < 0.1:
            return self._inputs.make()
        plan = make_plan(random)
        if is_looked_at:
            plan["do"].insert(0, ["busy", 2 * LOOK_AFTER])
        params = raw.web_params("/a", method=random.choice(METHODS), query=quote_plan(plan))
        if start := random.choice(STARTS):
            params["REQUEST_START"] = start
        return raw.request_bytes(params, flags=random.random() < 0.5)

    def _forget(self) -> None:
        head.known_fields.clear()
        head._told.clear()
        self._compiled.forget()
        self._plain.forget()
