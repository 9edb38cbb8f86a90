"""Calls a WSGI application and turns what it gives into the bytes of a CGI response (PEP 3333, RFC 3875 section 6).

Nothing here knows where the bytes go: a Sink takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from types import TracebackType
from typing import Any, Protocol

from fpm.wsgi.environ import Environ
from fpm.wsgi.head import format_head

ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
WSGIApp = Callable[[Environ, Any], Iterable[bytes]]

FILE_BLOCK = 65535
"""Bytes that wsgi.file_wrapper reads at once unless told otherwise: what one record carries."""


def _make_page(status: str, text: str) -> bytes:
    """A whole response."""
    body = f"<!DOCTYPE html>\n<title>{status}</title>\n<h1>{status[4:]}</h1>\n<p>{text}</p>\n"
    return (
        f"Status: {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode("ascii")


ERROR_PAGE = _make_page("500 Internal Server Error", "The application failed. What happened is in its log.")
TIMEOUT_PAGE = _make_page("504 Gateway Timeout", "The application has taken too long.")
_COMPLETE = (list, tuple)
_BODYLESS = ("204", "304")


class Sink(Protocol):
    """Where the bytes of a response go."""

    @property
    def finished(self) -> bool:
        """The answer is complete; nothing more may be sent."""

    def send(self, data: bytes) -> None:
        """Sends some bytes now; returns when they are on their way."""

    def finish(self, data: bytes) -> None:
        """Sends the last bytes (maybe none) and ends the request."""


class FileWrapper:
    """wsgi.file_wrapper: an iterable over the blocks of a file-like object."""

    __slots__ = ("_block", "_file", "close")

    def __init__(self, file: Any, block: int = FILE_BLOCK) -> None:
        self._file = file
        self._block = block
        self.close: Callable[[], object] = getattr(file, "close", _nothing)

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        data: bytes = self._file.read(self._block)
        if data:
            return data
        raise StopIteration


def _nothing() -> None:
    """The close() of a file without one."""


class Response:
    """The answer to one request while an application makes it."""

    __slots__ = (
        "_bodyless",
        "_head",
        "_head_only",
        "_left",
        "_sink",
        "closed",
        "dropped",
        "given",
        "started",
        "status",
        "surplus",
        "unusual",
    )

    def __init__(self, sink: Sink, method: str) -> None:
        self._sink = sink
        self._head_only = self._bodyless = method == "HEAD"
        self._head: str | None = None
        self._left: int | None = None
        """Bytes that are still to come by the application's Content-Length."""
        self.started = False
        """The head has gone out; an error can no longer become a 500 page."""
        self.status = ""
        self.surplus = 0
        """Bytes that the application made beyond its own Content-Length; they are dropped."""
        self.dropped = 0
        """Bytes that it made after finish_early()."""
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

    @property
    def head(self) -> str:
        """Status and headers as text, "" before start_response()."""
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
        self._head, self._left = format_head(status, headers)
        self.status = status
        self._bodyless = self._head_only or status[:3] in _BODYLESS
        return self.write

    def write(self, data: bytes) -> None:
        """The callable that start_response() returns: sends the bytes before it returns."""
        if not isinstance(data, bytes):
            raise TypeError(f"the body must be made of bytes, not {type(data).__name__}")
        with _SENDING:
            if not self.closed:
                self._sink.send(self._take(data))
                return
        self._drop(len(data))

    def _drop(self, size: int) -> None:
        if size:
            self.dropped += size
            self.unusual = True

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
            head = f"{self._head}\r\n".encode("latin-1")
        if self._bodyless:
            return head
        if self._left is not None:
            if len(data) > self._left:
                self.surplus += len(data) - self._left
                self.unusual = True
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
        for data in result:
            if data or not isinstance(data, bytes):
                self.write(data)
        if not self.closed and not self.short:
            self.closed = True
            self._sink.finish(self._flush())

    def _send_whole(self, body: bytes) -> None:
        """Sends a response whose body is all there, and with it its length."""
        head, size = self._head, len(body)
        if head is None or self._bodyless or (self._left is not None and self._left != size):
            self._send_unusual(body)
            return
        if self._left is None:
            head = self._head = f"{head}Content-Length: {size}\r\n"
        self.started = True
        self._left = 0
        self._sink.finish(f"{head}\r\n".encode("latin-1") + body)

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
        self._sink.finish(page)

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


def run_application(application: WSGIApp, environ: Environ, response: Response) -> None:
    """Calls the application once and sends its answer; its iterable is always closed.

    Raises:
        Whatever the application raises.
    """
    result = application(environ, response.start_response)
    try:
        response.send_result(result)
    finally:
        if hasattr(result, "close") and result is not response.given:
            result.close()
