"""One request on one connection: where the application's input comes from and where its answer goes."""

from __future__ import annotations

import select
from collections.abc import Sequence
from time import monotonic

from fpm.errors import ProtocolError
from fpm.fastcgi.connection import Connection, State
from fpm.fastcgi.events import NEED_DATA, Aborted, BodyData, BodyEnd, Reply
from fpm.fastcgi.records import pack_answer, pack_end, pack_finish, pack_head, pack_refusal
from fpm.scoreboard.stages import Stage
from fpm.worker.answer_sender import LOOK_AFTER
from fpm.worker.connection import WebConnection
from fpm.worker.plain_file import find_plain_file
from fpm.worker.service import Service
from fpm.worker.socket_io import PeerGone, read_available, wait
from fpm.wsgi.environ import Environ
from fpm.wsgi.sink import PlainFile

COPIED_MAX = 16384
"""Bytes that are copied to stand behind their header, as that costs less than to send two buffers."""
BODY_READ = 31 * 4096
"""Bytes that are read of a body at once: under glibc's M_MMAP_THRESHOLD, so that they cost no new pages each time."""
DISCARD_TIME = 5.0
"""Seconds in which a body that the application has not read is read to its end on a kept connection."""
DISCARD_MAX = 1 << 30
"""Bytes of it, at most."""


class BodyDropped(OSError):
    """Work after the response wants to read the request's body, which is gone."""


class RequestIO:
    """The connection's side of a request: the source of its body, and the Sink of its Response.

    It has many attributes: what has become of the answer is known here first.

    Args:
        machine: the connection's state machine, or None for a request that came in the simple shape.
        started: monotonic time of the request's start.
        environ: its variables; they become the application's environ.
    """

    __slots__ = (
        "_service",
        "_unread",
        "aborted",
        "broken",
        "connection",
        "cut_off",
        "environ",
        "finished",
        "first_byte",
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
        environ: Environ,
    ) -> None:
        self.connection = connection
        self.request_id = request_id
        self.keep = keep
        """Whether the connection can carry another request after this one."""
        self.machine = machine
        self.started = started
        self.environ = environ
        self._service = service
        self.finished = False
        """The answer is complete."""
        self.aborted = False
        """The web server has sent ABORT_REQUEST."""
        self.broken = False
        """The peer is gone: nothing can be sent any more."""
        self.cut_off = False
        self.first_byte = 0.0
        """See Answer, as for the one before."""
        self.released = False
        """The connection has been let go of, while the worker goes on with the request."""
        self._unread = False
        """The end of the answer has cut the body off that the application has not read."""

    def pull(self, wanted: int) -> Sequence[memoryview]:
        """The next pieces of the body, at most as many bytes as are wanted; nothing at its end.

        Raises:
            PeerGone: the body will not come to its end.
            BodyDropped: the answer is complete, and what the application had not read before is lost.
        """
        machine = self.machine
        if self.finished and self.released and self._unread:
            raise BodyDropped("the request's body was not read before its response was complete")
        if machine is None or self.finished:
            return ()
        while machine.state is State.BODY:
            parts = machine.take_body(wanted)
            if parts or machine.state is not State.BODY:
                return parts or ()
            event: object = NEED_DATA if parts is None else self._next_event(machine)
            if event is NEED_DATA:
                data = self._read()
                if not data:
                    self.broken = True
                    raise PeerGone("the web server went away in the middle of the body")
                machine.receive_data(data)
            elif isinstance(event, BodyData):
                machine.return_body(event.data)
            elif not isinstance(event, BodyEnd):
                self._obey(event)
        return ()

    def _next_event(self, machine: Connection) -> object:
        try:
            return machine.next_event()
        except ProtocolError as error:
            self.broken = True
            raise PeerGone(str(error)) from error

    def _obey(self, event: object) -> None:
        if isinstance(event, Reply):
            self._service.sender.send(self, event.data)
        elif isinstance(event, Aborted):
            self.aborted = True
            raise PeerGone("the web server aborted the request")

    def send(self, data: bytes, is_last: bool = False) -> None:
        """See Sink.

        Raises:
            PeerGone: nobody wants it any more.
        """
        if self.broken or self.aborted:
            raise PeerGone("the web server has gone away")
        if not data:
            self._service.sender.look_for_peer(self, is_last)
            return
        sender = self._service.sender
        if not is_last and not sender.word.is_left:
            sender.guard(self)
        if len(data) <= COPIED_MAX:
            sender.send(self, pack_head(self.request_id, len(data)) + data)
        else:
            sender.send_large(self, data)
        if not self.first_byte:
            self.mark_first_byte()

    def mark_first_byte(self) -> None:
        """See Answer."""
        if not self.first_byte:
            self.first_byte = monotonic()
            self._service.slot.mark_sent(self.first_byte)

    @property
    def can_finish(self) -> bool:
        """See Sink."""
        return self.machine is None or self.machine.state is State.ACTIVE

    def find_file(self, file: object) -> PlainFile | None:
        """See Sink."""
        return find_plain_file(file)

    def send_file(self, head: bytes, file: PlainFile, size: int) -> int:
        """See Sink.

        Raises:
            PeerGone: nobody wants it any more.
            OSError: it cannot be read, or has become shorter in the middle of a record.
        """
        if head:
            self.send(head)
        elif self.broken or self.aborted:
            raise PeerGone("the web server has gone away")
        return self._service.sender.send_file(self, file, size)

    def finish(self, data: bytes) -> None:
        """Sends the last piece and END_REQUEST.

        Raises:
            PeerGone: nobody wants it any more.
        """
        if self.broken or self.aborted:
            raise PeerGone("the web server has gone away")
        if self.machine is not None or monotonic() - self.started > LOOK_AFTER:
            machine = self._look()
            if self.keep and machine.state is State.BODY:
                self.send(data)
                self._discard_body(machine)
                data = b""
        refusal = b""
        if self.keep and not self._service.connections.may_keep(self.connection, self.environ):
            self.keep, refusal = False, pack_refusal(self.request_id)
        sender = self._service.sender
        sender.release()
        self.finished = True
        if len(data) <= COPIED_MAX:
            sender.send(self, pack_answer(self.request_id, data) + refusal)
        else:
            sender.send_large(self, data, pack_finish(self.request_id) + refusal)
        if not self.first_byte:
            self._service.slot.mark_sent(monotonic())  # the application may still end this process, as in a close()
        if self.machine is not None:
            self._end(self.machine)

    def release(self) -> None:
        """The answer is complete, the worker goes on: the web server must not wait for the connection."""
        self.released = True
        keep = self.keep and not self.broken
        self._service.connections.release(self.connection, self.machine, keep=keep)

    def abandon(self) -> None:
        """The application has given up on a request that nobody wants: END_REQUEST if the peer still listens."""
        self._service.sender.release()
        if self.finished:
            return
        self.finished = True
        if self.broken or not self.aborted:
            self.keep, self.broken = False, True
            return
        try:
            self._service.sender.send(self, pack_end(self.request_id))
        except PeerGone:
            self.keep = False
        if self.machine is not None:
            self._end(self.machine)

    def break_off(self) -> None:
        """Ends an answer that cannot be completed, so that the web server knows it (see fpm.worker.last_word)."""
        self.finished = self.cut_off = True
        self.keep = False
        self._service.sender.break_off(self)

    def _read(self) -> bytes:
        """What comes of the body, b"" at the end of the stream."""
        fd, timeout = self.connection.fd, self._service.settings.given.read_timeout
        data = read_available(fd, BODY_READ)
        while data is None:
            with self._service.slot.waiting(Stage.READING_BODY):
                came = wait(fd, select.POLLIN, timeout or None)
            if not came:
                what = f"nothing of the request's body has come for {timeout:g} seconds (read_timeout)"
                self._service.log.write("warning", self.environ, f"{what}; the connection is closed")
                raise PeerGone(f"no data for {timeout:g} seconds")
            data = read_available(fd, BODY_READ)
        return data

    def _end(self, machine: Connection) -> None:
        if machine.state is not State.ACTIVE and not self.aborted:
            self.keep = False  # some of the body is still to come; only a new connection is sure to be clean
            self._unread = True
        machine.end_request()

    def _discard_body(self, machine: Connection) -> None:
        """Reads on to the end of the body, for a web server that cannot do with an END_REQUEST before it."""
        self._unread = True
        deadline, left = monotonic() + DISCARD_TIME, DISCARD_MAX
        while machine.state is State.BODY:
            event = self._next_event(machine)
            if event is not NEED_DATA:
                self._obey(event)
                continue
            patience = deadline - monotonic()
            if left <= 0 or patience <= 0 or not wait(self.connection.fd, select.POLLIN, patience):
                return
            data = read_available(self.connection.fd)
            if data == b"":
                return
            left -= len(data or b"")
            machine.receive_data(data or b"")

    def _look(self) -> Connection:
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
                break
            machine.receive_data(data)
        return machine
