"""Calls a WSGI application and turns what it gives into the bytes of a CGI response (PEP 3333, RFC 3875 section 6).

Nothing here knows where the bytes go: a Sink takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from types import TracebackType

from fpm.wsgi.file_wrapper import FileWrapper
from fpm.wsgi.head import Fields, encode_head, format_head
from fpm.wsgi.sink import Sink, Unsent

ExcInfo = tuple[type[BaseException], BaseException, TracebackType]

_COMPLETE = (list, tuple)
SMALL_FILE = 32768
"""Bytes up to which a file is read and sent with one call, head and end included."""
_BODYLESS = frozenset(("204", "304", *map(str, range(100, 200))))
"""Statuses of answers without a body (RFC 9110 6.4.1)."""


class Response:
    """The answer to one request while an application makes it; it has many attributes: what may still follow."""

    # fmt: off
    __slots__ = (
        "_bodyless", "_head", "_head_only", "_is_complete", "_left", "_sink",
        "closed", "given", "is_enough", "started", "status", "unsent", "unusual",
    )
    # fmt: on

    def __init__(self, sink: Sink, method: str) -> None:
        self._sink = sink
        self._head_only = self._bodyless = method == "HEAD"
        self._head: str | None = None
        self._left: int | None = None
        """Bytes that are still to come by the application's Content-Length."""
        self._is_complete = False
        """A block has completed it, and the end went out with it."""
        self.started = False
        """The head has gone out; an error can no longer become a 500 page."""
        self.status = ""
        self.is_enough = False
        """The response has all of its body, and the application has made more, which is dropped."""
        self.unsent: Unsent | None = None
        self.closed = False
        """The last piece has been given, or is being given. Setting it after a look at it cannot be divided by another
        thread: the interpreter changes threads at calls and jumps only."""
        self.unusual = False
        """Something is to be told or done at the end of the request, see fpm.worker.request."""
        self.given: Iterable[bytes] | None = None
        """What finish_early() got, and has closed."""

    @property
    def finished(self) -> bool:
        """The sink has all of it."""
        return self._sink.finished

    def redirect(self, sink: Sink) -> None:
        """What is still to come goes to another sink."""
        self._sink = sink

    def set_head(self, status: str, fields: Fields) -> None:
        """Take status and fields that have passed the checks (fpm.wsgi.head.format_head)."""
        self._head, self._left, left_out = fields
        self.status = status
        if left_out:
            self._note_unsent().headers = left_out
        self._bodyless = self._head_only or status[:3] in _BODYLESS

    @property
    def head(self) -> str:
        """The header fields as lines of text without the status, "" before start_response()."""
        return self._head or ""

    @property
    def short(self) -> bool:
        """The body is shorter than its Content-Length."""
        return bool(self._left) and not self._bodyless

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """The callable of PEP 3333.

        Raises:
            TypeError, ValueError: status or headers break the rules.
            RuntimeError: called a second time without exc_info.
        """
        if exc_info is not None:
            try:
                if self.started and not self._sink.finished:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # no cycle through this frame
        elif self._head is not None:
            raise RuntimeError("start_response() called again without exc_info")
        self.set_head(status, format_head(status, headers))
        return self.write

    def write(self, data: bytes) -> None:
        """The callable that start_response() returns: sends the bytes before it returns."""
        if not isinstance(data, bytes):
            raise TypeError(f"the body must be made of bytes, not {type(data).__name__}")
        with _SENDING:
            if not self.closed:
                piece = self._take(data)
                self._sink.send(piece, self._left == 0 or self._bodyless)
                return
        self._drop(len(data))

    def _drop(self, size: int) -> None:
        if self._is_complete:
            self._note_unsent().surplus += size
            self.is_enough = True
        elif size:
            self._note_unsent().after_end += size

    def _note_unsent(self) -> Unsent:
        self.unusual = True
        self.unsent = self.unsent or Unsent()
        return self.unsent

    def _flush(self) -> bytes:
        """The head, if nothing was sent yet."""
        return b"" if self.started else self._take(b"")

    def _take(self, data: bytes) -> bytes:
        """The bytes to send for a piece of body: the head before the first; no body where there must not be one."""
        head = b""
        if not self.started:
            if self._head is None:
                raise RuntimeError("the application gave a body before it called start_response()")
            self.started = True
            head = encode_head(self._head, self.status)
        if self._bodyless:
            self.is_enough = True
            return head
        if self._left is not None:
            if len(data) > self._left:
                self._note_unsent().surplus += len(data) - self._left
                self.is_enough = True
                data = data[: self._left]
            self._left -= len(data)
        return head + data if head else data

    def send_result(self, result: Iterable[bytes]) -> None:
        """Sends what the application returned. A generator's blocks go out one by one, as each is made."""
        if isinstance(result, _COMPLETE) and not self.started:
            body = result[0] if len(result) == 1 else b"".join(result)
            if not isinstance(body, bytes):
                raise TypeError(f"the body must be made of bytes, not {type(body).__name__}")
            if self.closed:
                self._drop(len(body))
                return
            self.closed = True
            self._send_whole(body)
            return
        if result is self.given and self.closed:
            return
        if self.closed or self._head is None or not self._bodyless:
            if type(result) is FileWrapper and self._head is not None and not self.closed:
                self._send_file(result)
            self._send_pieces(result)
        else:
            iter(result)  # no body is wanted, but what is none at all is an error as ever
        if not self.closed and not self.short:
            self.closed = True
            self._sink.finish(self._flush())

    def _send_pieces(self, result: Iterable[bytes]) -> None:
        """Sends block by block, and stops after the first that is too many: it may have no end (PEP 3333).

        Where the application has finished early, it is led to its end: what it does there is work, not output.
        """
        if result is None:  # a missing `return`, of which Python says only that None is not iterable
            raise TypeError("the application has returned None, not an iterable of bytes")
        for data in result:
            left = self._left
            if type(data) is bytes and data and self.started and (left is None or len(data) < left):
                with _SENDING:  # the usual case of write(), without a call
                    if not (self.closed or self._bodyless):
                        self._left = left and left - len(data)
                        self._sink.send(data)
                        continue
            if data or not isinstance(data, bytes):
                if left is None or len(data) < left or not self._complete(data):
                    self.write(data)
                if self.is_enough and (not self.closed or self._is_complete):
                    break
            elif not self.closed or self._is_complete:
                if self._left == 0 or (self._bodyless and self._head is not None):
                    break
                self._sink.send(data)

    def _send_file(self, wrapper: FileWrapper) -> None:
        """Has a real file sent by the kernel; what does not go that way is read after it, block by block."""
        wrapper.left = left = self._left
        file = self._sink.find_file(wrapper.file)
        if file is None:
            return
        size = file.size if left is None else min(file.size, left)
        if size <= SMALL_FILE:
            wrapper.block = SMALL_FILE
            return
        with _SENDING:
            if not self.closed:
                sent = self._sink.send_file(self._flush(), file, size)
                self._left = wrapper.left = None if left is None else left - sent

    def _complete(self, data: bytes) -> bool:
        """Sends a block that completes the Content-Length, and with it the end; False if that has to wait."""
        if self._bodyless or not isinstance(data, bytes) or not self._sink.can_finish:
            return False
        with _SENDING:
            if self.closed:
                return False
            piece = self._take(data)
            self.closed = self._is_complete = True
            self._sink.finish(piece)
        return True

    def _send_whole(self, body: bytes) -> None:
        """Sends a response whose body is all there, and with it its length."""
        head, size = self._head, len(body)
        if head is None or self._bodyless or (self._left is not None and self._left != size):
            self._send_unusual(body)
            return
        length = f"Content-Length: {size}\r\n" if self._left is None else ""
        # The status is last (see encode_head), but first where the application gives no header.
        lines = f"{head}{length}Status: {self.status}\r\n" if head else f"Status: {self.status}\r\n{length}"
        self._head = f"{head}{length}"
        self.started, self._left = True, 0
        self._sink.finish(f"{lines}\r\n".encode("latin-1") + body)

    def _send_unusual(self, body: bytes) -> None:
        """As _send_whole, for one without start_response(), without a body, or with a Content-Length that is wrong."""
        if self._head_only and self._left is None and self._head is not None and body:
            self._head = f"{self._head}Content-Length: {len(body)}\r\n"
        data = self._take(body)
        if self.short:
            self._sink.send(data)
        else:
            self._sink.finish(data)

    def send_page(self, page: bytes) -> None:
        """Sends another response in place of this one, of which nothing has gone out; head and body as one."""
        self.closed = True
        head, empty, body = page.partition(b"\r\n\r\n")
        self._sink.finish(head + empty + (b"" if self._head_only else body))

    def finish_early(self, iterable: Iterable[bytes] | None = None) -> bool:
        """Sends what there is, and all of `iterable`, which is closed then; later output is dropped.

        The sink is left unfinished if that is less than the Content-Length, see `short`.

        Returns:
            False if the last piece had been given already.

        Raises:
            RuntimeError: start_response() has not been called, so there is nothing to send.
        """
        if self.closed:
            return False
        if self._head is None:
            raise RuntimeError(
                "finish_request() was called before start_response(): there is no response to finish yet. In a view "
                "of a framework, use after_response()"
            )
        if iterable is not None:
            self.given = iterable
            try:
                self.send_result(iterable)
            finally:
                if hasattr(iterable, "close"):
                    iterable.close()
        with _SENDING:
            if not self.closed:
                self.closed = True
                if self.short:
                    self._sink.send(self._flush())
                else:
                    self._sink.finish(self._flush())
        return True


_SENDING = Lock()
"""Held while a piece is sent: finish_early() may be called by another thread of the request."""


def renew_lock() -> None:
    """For a process that was just forked: the thread that held the lock, if there was one, is not in it."""
    global _SENDING
    _SENDING = Lock()
