"""Sends the records of answers, waits for peers that are slow, and lets no answer end half-way without a sign of it."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import Protocol

from fpm.fastcgi.constants import RecordType
from fpm.fastcgi.records import pack_break, pack_record, pack_stream, split_records
from fpm.scoreboard.stages import Stage
from fpm.scoreboard.writer import SlotWriter
from fpm.worker.accounting import RequestLog
from fpm.worker.connection import WebConnection
from fpm.worker.last_word import LastWord
from fpm.worker.settings import ActiveSettings
from fpm.worker.socket_io import PeerGone, has_left, send_now, send_records, wait_for_room
from fpm.wsgi.environ import Environ

LOOK_AFTER = 0.001
"""Seconds a request must have taken before it is worth a system call to see what its peer has done meanwhile."""
_REFUSE_AFTER = 1.0
"""Seconds for which an application may go on writing though its answer has all of its body."""


class Answer(Protocol):
    """What is to be known of a request to send what it is answered."""

    connection: WebConnection
    request_id: int
    environ: Environ
    started: float
    broken: bool
    """The peer is gone, or was given up: nothing can be sent any more."""


class AnswerSender:
    """Sends what the requests of one worker are answered."""

    def __init__(self, settings: ActiveSettings, slot: SlotWriter, log: RequestLog, last_word: LastWord) -> None:
        self._settings = settings
        self._slot = slot
        self._log = log
        self._last_word = last_word
        self._refused = (0.0, 0.0)
        """The start of a request whose application has written more than its answer takes, and since when."""

    def descriptors(self) -> list[int]:
        """List what is for this process and its template alone."""
        return self._last_word.descriptors()

    def send(self, io: Answer, records: bytes) -> None:
        """Send whole records.

        Raises:
            PeerGone: nobody takes them.
        """
        try:
            sent = send_now(io.connection.fd, records)
            if sent < len(records):
                send_records(io.connection.fd, split_records(records), sent, partial(self._await_room, io))
        except PeerGone:
            io.broken = True
            raise

    def send_large(self, io: Answer, data: bytes, end: bytes) -> None:
        """Send data as records of STDOUT, and then the records of the end; see send()."""
        try:
            records = [*pack_stream(RecordType.STDOUT, io.request_id, data), *split_records(end)]
            send_records(io.connection.fd, records, 0, partial(self._await_room, io))
        except PeerGone:
            io.broken = True
            raise

    def look_for_peer(self, io: Answer, is_last: bool) -> None:
        """Look whether anybody waits for more, as the application has made nothing that is to be sent.

        Args:
            is_last: the answer has all of its body.

        Raises:
            PeerGone: nobody does.
        """
        now = monotonic()
        if now - io.started < LOOK_AFTER:
            return
        if is_last:
            if self._refused[0] != io.started:
                self._refused = (io.started, now)
            if now - self._refused[1] > _REFUSE_AFTER:
                raise PeerGone("the answer has all of its body, and no more is sent")
        left = has_left(io.connection.fd)
        if left:
            io.broken = True
            raise PeerGone("the web server has gone away")
        if left is None:
            # An end of STDERR, which means nothing. A peer that has left answers it with a reset (TCP).
            self.send(io, pack_record(RecordType.STDERR, io.request_id, b""))

    def guard(self, io: Answer) -> None:
        """An answer is under way: if this process ends now, the web server shall see that it is not complete."""
        if not self._last_word.is_left:
            self._last_word.leave(io.connection.fd, pack_break(io.request_id))

    def release(self) -> None:
        """The answer is complete, or its peer gone."""
        if self._last_word.is_left:
            self._last_word.withdraw()

    def break_off(self, io: Answer) -> None:
        """End an answer that cannot be completed."""
        if not io.broken:
            self.guard(io)
        if self._last_word.is_left:
            self._last_word.say()

    def _await_room(self, io: Answer, rest: bytes) -> None:
        """Wait until the peer takes something. If this process ends meanwhile, the begun record is completed first."""
        timeout, fd = self._settings.given.send_timeout, io.connection.fd
        self._last_word.leave(fd, rest + pack_break(io.request_id))
        with self._slot.waiting(Stage.SENDING):
            has_room = wait_for_room(fd, timeout)
        if not has_room:
            what = f"the web server has taken nothing of the answer for {timeout:g} seconds (send_timeout)"
            self._log.write("warning", io.environ, f"{what}; the connection is closed")
            self._last_word.say()
            raise PeerGone(f"the peer took nothing for {timeout:g} seconds")
        self._last_word.withdraw()
