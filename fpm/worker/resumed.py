"""A request that the compiled hot path has begun, and that plain Python goes on with."""

from __future__ import annotations

from collections.abc import Iterable
from types import CodeType

from fpm.library import Call, NoRequestError
from fpm.worker.fork_guard import NullSink
from fpm.worker.request import OUR_FRAMES, Request
from fpm.worker.request_io import RequestIO
from fpm.worker.request_steps import BEGIN
from fpm.worker.service import Service
from fpm.wsgi.environ import Environ
from fpm.wsgi.response import Response


class ResumedRequest(Request):
    """A request whose slot is written and whose environ is complete.

    Args:
        path: the whole decoded path.
        epoch: when it began, epoch seconds.
        cpu: the process's CPU time then, in seconds; -1.0: not measured.
        head_only: it is a HEAD request; its application may have changed what environ says of that.
    """

    __slots__ = ()

    def __init__(
        self, service: Service, io: RequestIO, path: str, epoch: float, cpu: float, *, head_only: bool
    ) -> None:
        super().__init__(service, io)
        self.state = BEGIN[self.state]
        self._path, self._epoch, self._cpu = path, epoch, cpu
        self.response = Response(io, "HEAD" if head_only else "")

    def answer_now(self) -> bool:
        """Call the application, which has not been called; see Request.answer()."""
        return self.answer_by(self._service.application)

    def answer_with(self, result: Iterable[bytes], error: BaseException | None) -> bool:
        """Go on after the application, with what it has returned or raised; see Request.answer()."""

        def replay(environ: Environ, start_response: object) -> Iterable[bytes]:
            if error is not None:
                raise error
            return result

        return self.answer_by(replay)

    def answer_with_rest(self, records: bytes, sent: int) -> bool:
        """Send what is left of the records of a whole answer; see Request.answer()."""

        def send(environ: Environ, start_response: object) -> Iterable[bytes]:
            self.response.closed = True
            self.io.finished = True
            self._service.sender.send(self.io, records, sent)
            return ()

        return self.answer_by(send)


OUR_FRAMES.update(code for code in ResumedRequest.answer_with.__code__.co_consts if isinstance(code, CodeType))


class _OverSink(NullSink):
    finished = True


class EndedRequest:
    """What is left of the requests that the hot path has answered, for what applications have kept of them.

    Attributes:
        response: its start_response() and write() do what those of any response do that is complete.
    """

    def __init__(self) -> None:
        self.response = Response(_OverSink(), "")
        self.response.set_head("200 OK", ("", None, ()))
        self.response.started = self.response.closed = True

    def finish_early(self, iterable: Iterable[bytes] | None, task: str) -> bool:
        """See CurrentRequest: another thread has been late."""
        return False

    def call_after(self, call: Call) -> None:
        """See CurrentRequest: another thread has been late."""
        raise NoRequestError("after_response() was called after the end of the request")
