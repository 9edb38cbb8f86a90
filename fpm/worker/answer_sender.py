"""Sends the records of answers, waits for peers that are slow, and lets no answer end half-way without a sign of it."""

from __future__ import annotations

import _socket
import os
import select
from collections.abc import Sequence
from functools import partial
from time import monotonic

from fpm.fastcgi.constants import HEADER, MAX_CONTENT, RecordType
from fpm.fastcgi.records import pack_break, pack_head, pack_record, pack_stream, split_records
from fpm.scoreboard.stages import Stage
from fpm.scoreboard.writer import SlotWriter
from fpm.worker.answer import Answer
from fpm.worker.last_word import LastWord
from fpm.worker.plain_file import read_part
from fpm.worker.request_log import RequestLog
from fpm.worker.settings import ActiveSettings
from fpm.worker.socket_io import PeerGone, has_left, send_records, wait_for_room
from fpm.wsgi.sink import PlainFile

LOOK_AFTER = 0.001
"""Seconds a request must have taken before it is worth a system call to see what its peer has done meanwhile."""
_EXECUTING, _SENDING = int(Stage.EXECUTING), int(Stage.SENDING)
RECORD_MAX = HEADER.size + MAX_CONTENT
FILE_RECORD = 61440
"""Bytes of a file in one record: whole pages, as many as there is room for."""
_PAGE = 4096
_BATCH = 16 * RECORD_MAX
_OVERHEAD = 8192
"""Bytes of a socket's buffer that its messages take beside what is in them."""
_LARGE_BUFFER = 1 << 19
"""Bytes of the buffer of a socket whose peer has to be waited for."""
_SOON = 50
"""Milliseconds in which nearly every peer takes something: only after them it is looked what it has taken."""
_REFUSE_AFTER = 1.0
"""Seconds for which an application may go on writing though its answer has all of its body."""


class AnswerSender:
    """Sends what the requests of one worker are answered.

    Attributes:
        word: what is said if this worker ends in the middle of an answer.
    """

    def __init__(self, settings: ActiveSettings, slot: SlotWriter, log: RequestLog, last_word: LastWord) -> None:
        self._settings = settings
        self._slot = slot
        self._log = log
        self.word = last_word
        self._refused = (0.0, 0.0)
        """The start of a request whose application has written more than its answer takes, and since when."""
        self._batch = 0
        """Bytes that a peer takes at once when it can be sent anything at all; 0: not known yet."""
        self._is_large = False
        """The socket of the present peer has a buffer of its own size."""
        self._poll, self._polled = select.poll(), -1
        """What waits for room, and the descriptor for which it does."""
        self._room = 0
        """Bytes that the present peer is sure to take without a wait, if it had read all that came before."""

    def descriptors(self) -> list[int]:
        """List what is for this process and its template alone."""
        return self.word.descriptors()

    def send(self, io: Answer, records: bytes, sent: int | None = None) -> None:
        """Send whole records, few bytes; `sent` bytes of them have been sent already.

        Raises:
            PeerGone: nobody takes them.
        """
        try:
            if sent is None:
                sent = os.write(io.connection.fd, records)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            io.broken = True
            raise PeerGone(str(error)) from None
        if sent != len(records):
            self._send_rest(io, split_records(records), sent)

    def send_large(self, io: Answer, data: bytes, end: bytes = b"") -> None:
        """Send data as records of STDOUT, and then the records of the end, without a copy; see send()."""
        if not self._batch:
            self._size_up(io.connection.fd)
        buffers = pack_stream(RecordType.STDOUT, io.request_id, data)
        size, step = len(data) + len(buffers) // 2 * HEADER.size + len(end), 2 * max(1, self._batch // RECORD_MAX)
        if len(buffers) <= step:
            if end:
                buffers.append(end)
            self._send_group(io, buffers, size)
            return
        is_alone = not self.word.is_left
        self.guard(io)
        for start in range(0, len(buffers), step):
            group = buffers[start : start + step]
            if end and start + step >= len(buffers):
                group.append(end)
            self._send_group(io, group, sum(map(len, group)))
            io.mark_first_byte()
        if is_alone:
            self.release()

    def send_file(self, io: Answer, file: PlainFile, size: int) -> int:
        """Send a part of a file as records of STDOUT, which the kernel takes from its own memory; see send().

        Returns:
            How many bytes: fewer if the file has become shorter.

        Raises:
            PeerGone: nobody takes them.
            OSError: it cannot be read, or has become shorter in the middle of a record.
        """
        if not self._batch:
            self._size_up(io.connection.fd)
        # The head of a record and its content take two calls. Whatever follows the head, this is no good record.
        self.guard(io, FILE_RECORD // HEADER.size + 1)
        at, end, self._room = file.position, file.position + size, 0
        while at < end:
            if self._room < RECORD_MAX:
                self._make_room(io)
                end = min(end, max(at, os.fstat(file.fd).st_size))
            part = min(FILE_RECORD - at % _PAGE, end - at)
            if part:
                self._send_part(io, file.fd, at, part)
            self._room -= RECORD_MAX
            at += part
        size = at - file.position
        file.move(at)
        return size

    def _send_part(self, io: Answer, file: int, at: int, size: int) -> None:
        """Send one record of a file."""
        fd, head, sent = io.connection.fd, pack_head(io.request_id, size), 0
        try:
            sent = os.write(fd, head)
            sent += os.sendfile(fd, file, at, size)
        except BlockingIOError:
            pass
        except ConnectionError as error:
            io.broken = True
            raise PeerGone(str(error)) from None
        except OSError:
            pass  # EINVAL: not from this file system; if it cannot be read at all, read() tells
        if sent != HEADER.size + size:
            done = max(0, sent - HEADER.size)
            data, failure = read_part(file, at + done, size - done)
            self._send_rest(io, (head[sent:], data), 0)
            if failure is not None:
                raise failure

    def _send_group(self, io: Answer, buffers: list[bytes | memoryview], size: int) -> None:
        """Send records, which are few enough that a peer who takes anything takes all of them.

        So it nearly never takes a part of one; for then, what is left of it has to be left to the template.
        """
        if self._room < size:
            self._make_room(io)
        self._room -= size
        try:
            sent = os.writev(io.connection.fd, buffers)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            io.broken = True
            raise PeerGone(str(error)) from None
        if sent != size:
            self._send_rest(io, split_records(b"".join(buffers)), sent)

    def _make_room(self, io: Answer) -> None:
        """Wait until the peer takes as much as it takes at once."""
        self._await_room(io, b"")
        if not self._is_large:
            self._size_up(io.connection.fd, _LARGE_BUFFER)
        self._room = self._batch

    def _send_rest(self, io: Answer, buffers: Sequence[bytes | memoryview], sent: int) -> None:
        """Go on where the peer has not taken all at once."""
        times, self._room = self.word.times if self.word.is_left else 0, 0
        if sent:
            io.mark_first_byte()
        try:
            send_records(io.connection.fd, buffers, sent, partial(self._await_room, io))
        except PeerGone:
            io.broken = True
            raise
        if times and not self.word.is_left:
            self.guard(io, times)

    def _size_up(self, fd: int, wanted: int = 0) -> None:
        """Find out how much can be sent at once to a peer that has read what was sent before.

        A Unix socket can be written to (poll(2)) when at most a quarter of its buffer is in use. With TCP there is no
        such measure, nor a need for one: the buffer is large. `wanted` bytes are set where a peer has to be waited for.
        """
        self._batch = _BATCH
        if self._settings.given.listen_is_unix:
            connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
            try:
                size = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF)
                if size < wanted:
                    connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, wanted // 2)  # doubled, socket(7)
                    size = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF)
                self._batch = size // 4 * 3 - _OVERHEAD
            finally:
                connection.detach()
        self._is_large = bool(wanted)
        self._room = self._batch

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

    def guard(self, io: Answer, times: int = 1) -> None:
        """An answer is under way: if this process ends now, the web server shall see that it is not complete.

        `times` says how often it is told: more than once where the head of a record may be out without its content.
        """
        if not self.word.is_left or self.word.times < times:
            self.word.leave(io.connection.fd, pack_break(io.request_id), times)

    def release(self) -> None:
        """The answer is complete, or its peer gone."""
        if self._is_large:
            self._batch, self._is_large = 0, False
        self._room = self._batch
        if self.word.is_left:
            self.word.withdraw()

    def break_off(self, io: Answer) -> None:
        """End an answer that cannot be completed."""
        if not io.broken:
            self.guard(io)
        if self.word.is_left:
            self.word.say()

    def _wait_for_room(self, fd: int, timeout: float) -> bool:
        """See wait_for_room(); nearly always it is a matter of microseconds."""
        if fd != self._polled:
            self._polled, self._poll = fd, select.poll()
            self._poll.register(fd, select.POLLOUT)
        stages, index = self._slot.stages, self._slot.index
        before = stages[index]
        if before == _EXECUTING:
            stages[index] = _SENDING
        try:
            return bool(self._poll.poll(_SOON)) or wait_for_room(fd, timeout)
        finally:
            stages[index] = before

    def _await_room(self, io: Answer, rest: bytes) -> None:
        """Wait until the peer takes something. If this process ends meanwhile, the begun record is completed first."""
        word, fd = self.word, io.connection.fd
        is_guarded = word.is_left and not rest
        if not is_guarded:
            word.leave(fd, rest + pack_break(io.request_id))
        timeout = self._settings.given.send_timeout
        if not self._wait_for_room(fd, timeout):
            what = f"the web server has taken nothing of the answer for {timeout:g} seconds (send_timeout)"
            self._log.write("warning", io.environ, f"{what}; the connection is closed")
            word.say()
            io.broken = True
            raise PeerGone(f"the peer took nothing for {timeout:g} seconds")
        if not is_guarded:
            word.withdraw()
