"""One request on one connection: where the application's input comes from and where its answer goes."""

from __future__ import annotations

from contextlib import suppress
from tempfile import TemporaryFile
from time import monotonic

from fpm.errors import ProtocolError
from fpm.fastcgi.connection import Connection, State
from fpm.fastcgi.constants import MAX_CONTENT, RecordType
from fpm.fastcgi.events import NEED_DATA, Aborted, BodyData, BodyEnd, Reply
from fpm.fastcgi.records import pack_answer, pack_break, pack_end, pack_finish, pack_stdout, pack_stream
from fpm.worker.connection import WebConnection
from fpm.worker.service import Service
from fpm.worker.socket_io import PeerGone, read_available, read_or_wait, send_all, send_buffers
from fpm.wsgi.environ import Environ

STALL = 60.0
"""Seconds after which a body that does not come, or an answer that is not taken, ends the request."""
SPOOL_BLOCK = 65536
_LOOK_AFTER = 0.001
"""Seconds a request must have taken before it is worth a system call to see what else has come meanwhile."""


class BodyDropped(OSError):
    """Work after the response wants to read the request's body, which is gone."""


class RequestIO:
    """The connection's side of a request: the source of its body, and the Sink of its Response.

    Args:
        machine: the connection's state machine, or None for a request that came in the simple shape.
        started: monotonic time of the request's start.
    """

    __slots__ = (
        "_service",
        "_unread",
        "aborted",
        "broken",
        "connection",
        "finished",
        "keep",
        "machine",
        "released",
        "request_id",
        "started",
    )

    def __init__(
        self,
        connection: WebConnection,
        request_id: int,
        keep: bool,
        machine: Connection | None,
        started: float,
        service: Service,
    ) -> None:
        self.connection = connection
        self.request_id = request_id
        self.keep = keep
        """Whether the connection can carry another request after this one."""
        self.machine = machine
        self.started = started
        self._service = service
        self.finished = False
        """The answer is complete."""
        self.aborted = False
        """The web server has sent ABORT_REQUEST."""
        self.broken = False
        """The peer is gone: nothing can be sent any more."""
        self.released = False
        """The connection has been let go of, while the worker goes on with the request."""
        self._unread = False
        """The end of the answer has cut the body off that the application has not read."""

    def pull(self) -> bytes:
        """The next piece of the body, b"" at its end.

        Raises:
            PeerGone: the body will not come to its end.
            BodyDropped: the answer is complete, and what the application had not read before is lost.
        """
        machine = self.machine
        if self.finished and self.released and self._unread:
            raise BodyDropped("the request's body was not read before its response was complete")
        if machine is None or self.finished:
            return b""
        while machine.state is State.BODY:
            event = self._next_event(machine)
            if event is NEED_DATA:
                data = read_or_wait(self.connection.fd, STALL, self._service.slot)
                if not data:
                    self.broken = True
                    raise PeerGone("the web server went away in the middle of the body")
                machine.receive_data(data)
            elif isinstance(event, BodyData):
                return event.data
            elif isinstance(event, BodyEnd):
                return b""
            else:
                self._obey(event)
        return b""

    def _next_event(self, machine: Connection) -> object:
        try:
            return machine.next_event()
        except ProtocolError as error:
            self.broken = True
            raise PeerGone(str(error)) from error

    def _obey(self, event: object) -> None:
        if isinstance(event, Reply):
            self._send(event.data)
        elif isinstance(event, Aborted):
            self.aborted = True
            raise PeerGone("the web server aborted the request")

    def _send(self, data: bytes) -> None:
        try:
            send_all(self.connection.fd, data, STALL, self._service.slot)
        except PeerGone:
            self.broken = True
            raise

    def send(self, data: bytes) -> None:
        """Sends a piece of the answer now.

        Raises:
            PeerGone: nobody wants it any more.
        """
        if self.broken or self.aborted:
            raise PeerGone("the web server has gone away")
        if not data:
            return
        if len(data) <= MAX_CONTENT:
            self._send(pack_stdout(self.request_id, data))
        else:
            self._send_large(data, b"")

    def finish(self, data: bytes) -> None:
        """Sends the last piece and END_REQUEST.

        Raises:
            PeerGone: nobody wants it any more.
        """
        if self.broken or self.aborted:
            raise PeerGone("the web server has gone away")
        if self.machine is not None or monotonic() - self.started > _LOOK_AFTER:
            self._look()
        self.finished = True
        if len(data) <= MAX_CONTENT:
            try:
                send_all(self.connection.fd, pack_answer(self.request_id, data), STALL, self._service.slot)
            except PeerGone:
                self.broken = True
                raise
        else:
            self._send_large(data, pack_finish(self.request_id))
        if self.machine is not None:
            self._end(self.machine)

    def release(self) -> None:
        """The answer is complete, the worker goes on: the web server must not wait for the connection."""
        self.released = True
        keep = self.keep and not self.broken
        self._service.connections.release(self.connection, self.machine, keep=keep)

    def abandon(self) -> None:
        """The application has given up on a request that nobody wants: END_REQUEST if the peer still listens."""
        if self.finished:
            return
        self.finished = True
        if self.broken or not self.aborted:
            self.keep = False
            return
        try:
            self._send(pack_end(self.request_id))
        except PeerGone:
            self.keep = False
        if self.machine is not None:
            self._end(self.machine)

    def break_off(self) -> None:
        """Ends an answer that cannot be completed, so that the web server knows it (see records.pack_break)."""
        self.finished = True
        self.keep = False
        if self.broken:
            return
        with suppress(PeerGone):
            self._send(pack_break(self.request_id))

    def _send_large(self, data: bytes, end: bytes) -> None:
        try:
            buffers = [*pack_stream(RecordType.STDOUT, self.request_id, data), end]
            send_buffers(self.connection.fd, buffers, STALL, self._service.slot)
        except PeerGone:
            self.broken = True
            raise

    def _end(self, machine: Connection) -> None:
        if machine.state is not State.ACTIVE and not self.aborted:
            self.keep = False  # some of the body is still to come; only a new connection is sure to be clean
            self._unread = True
        machine.end_request()

    def _look(self) -> None:
        """Takes what has come since the request: the rest of its body, a second request to refuse, an abort."""
        machine = self.machine
        if machine is None:
            machine = self.machine = self._service.settings.make_machine()
            machine.adopt(self.request_id, self.keep)
        for attempt in range(2):
            while (event := self._next_event(machine)) is not NEED_DATA:
                self._unread = self._unread or isinstance(event, BodyData)
                self._obey(event)
            data = read_available(self.connection.fd) if attempt == 0 else None
            if not data:
                return
            machine.receive_data(data)


def spool_body(environ: Environ) -> None:
    """Read a body of unknown length into a temporary file, for frameworks that need CONTENT_LENGTH."""
    if "CONTENT_LENGTH" in environ:
        return
    file = TemporaryFile()  # noqa: SIM115  the application reads it; it is closed with the request
    while block := environ["wsgi.input"].read(SPOOL_BLOCK):
        file.write(block)
    environ["CONTENT_LENGTH"] = str(file.tell())
    file.seek(0)
    environ["wsgi.input"] = file
