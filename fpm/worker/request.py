"""One request, from its variables to its end: it owns all that belongs to it, and knows what may follow what."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO
from time import monotonic, process_time

from fpm.library import Call, RequestTimeout, current
from fpm.protocol.spec import FD_WAKE
from fpm.scoreboard.stages import Stage
from fpm.worker.background import BackgroundWork
from fpm.worker.body_spool import spool_body
from fpm.worker.fork_guard import NullSink, leave_copy
from fpm.worker.request_io import RequestIO
from fpm.worker.request_log import format_traceback, tell_unsent
from fpm.worker.request_steps import BEGIN, COMPLETE, END, FINISH, NEW, RELEASE, RELEASED, WORK
from fpm.worker.service import Service
from fpm.worker.socket_io import PeerGone, comes_from_peer
from fpm.wsgi.body import BodyStream
from fpm.wsgi.environ import complete_environ, content_length
from fpm.wsgi.error_pages import ERROR_PAGE, TIMEOUT_PAGE
from fpm.wsgi.response import Response
from fpm.wsgi.run import WSGIApp, run_application

_EXECUTING = int(Stage.EXECUTING)


class Request:
    """A request that is being served; see fpm.library.CurrentRequest for what the application may ask of it.

    answer(), then work() if there is some, then end(): another order raises (see fpm.worker.request_steps).

    Args:
        io: the connection's side, from which the input comes and to which the answer goes.
    """

    # fmt: off
    __slots__ = (
        "_background", "_cpu", "_environ", "_epoch", "_path", "_service", "_slot", "_slow", "io", "response", "state",
    )
    # fmt: on

    def __init__(self, service: Service, io: RequestIO) -> None:
        self._service = service
        self._slot = service.slot
        self.io = io
        self._environ = io.environ
        self.state = NEW
        self._background: BackgroundWork | None = None  # the work after the response, once there is some
        self._slow = False  # it has been reported as slow

    # ---------------------------------------------------------------- the steps, in their order

    def answer(self) -> bool:
        """Have the application answer, and keep what is to be known of it.

        Returns:
            True if there is work after the response, for which the web server must not wait.
        """
        self.state = BEGIN[self.state]
        service, slot, io, environ = self._service, self._slot, self.io, self._environ
        if slot.take():
            os.eventfd_write(FD_WAKE, 1)
        self._cpu = process_time() if slot.was_long else -1.0
        """The process's CPU time in seconds; -1.0: not measured."""
        self._epoch = time.time()
        if request_start := environ.get("REQUEST_START"):
            slot.counter.count_wait(request_start, self._epoch)
        self._path = complete_environ(environ, service.settings.given.script_name)
        environ.update(service.constants)
        length = None
        if io.machine is None:
            environ["wsgi.input"] = BytesIO()
        else:
            length = content_length(environ)
            environ["wsgi.input"] = BodyStream(io.pull, length)
        method = environ["REQUEST_METHOD"]
        user = environ.get("REMOTE_USER", "")
        slot.begin(self._epoch, method, self._path, environ["QUERY_STRING"], length or 0, user, io.started)
        slot.stages[slot.index] = _EXECUTING
        self.response = Response(io, method)
        return self.answer_by(service.application)

    def answer_by(self, application: WSGIApp) -> bool:
        """Answer with what this application gives; the request has begun. See answer()."""
        self._call_application(application)
        service, response, environ, has_work = self._service, self.response, self._environ, False
        if response.unusual:
            if response.unsent is not None:
                tell_unsent(service.log, environ, response.unsent)
            if self.state is RELEASED:
                return True
            has_work = self._run_before_end()
        self.state = COMPLETE[self.state]
        self._account(is_done=not has_work)
        return has_work

    def work(self) -> None:
        """Do what is left to be done after the response."""
        background = self._get_background()
        if not self.io.released:
            self._let_go(background)
        self.state = WORK[self.state]
        self._run_calls(background)
        self._account_work()
        self.state = FINISH[self.state]

    def end(self) -> None:
        """Leave nothing behind."""
        self.state = END[self.state]
        if self._background is not None:
            self._background.clear()

    # ---------------------------------------------------------------- what the application asks for

    def finish_early(self, iterable: Iterable[bytes] | None, task: str) -> bool:
        """See CurrentRequest. A client that has gone away is no reason to end the application's work."""
        background = self._get_background()
        if background.is_finishing:
            return False
        response = self.response
        background.hold_back(self.io, response)
        try:
            # In a close() the response may be complete already: then only the release is left to do.
            if not response.finish_early(iterable) and not (response.finished or response.short):
                return False  # another thread is just sending it
        except PeerGone:
            response.closed = True
            self.io.abandon()
        background.is_finishing = response.unusual = True
        background.task = task
        if background.is_held_back:
            background.write_slot()
            return True
        if not response.finished:
            self._cut_off("finish_request() was called before all of the Content-Length was there")
        self.state = RELEASE[self.state]
        self._let_go(background)
        self._account(is_done=False)
        return True

    def call_after(self, call: Call) -> None:
        """See CurrentRequest."""
        background = self._get_background()
        self.response.unusual = True
        background.add(call)
        background.hold_back(self.io, self.response)

    def disown(self) -> None:
        """See CurrentRequest."""
        self.response.redirect(NullSink())

    # ---------------------------------------------------------------- until the response is out

    def _call_application(self, application: WSGIApp) -> None:
        service, io, environ, response = self._service, self.io, self._environ, self.response
        current.request = self
        try:
            if self._path in service.settings.own_paths and (page := service.pages.answer(self._path, environ)):
                response.status = "200 OK"
                io.finish(page)
                return
            if io.machine is not None and service.settings.given.request_body_spool:
                spool_body(environ)
            run_application(application, environ, response)
            if not io.finished and not response.finished:
                if response.short:
                    self._cut_off("the body is shorter than its Content-Length")
                else:
                    response.finish_early()  # the close() of its iterable has written the rest
        except PeerGone:
            self._abandon()
        except RequestTimeout as error:
            self._time_out(error)
        except BaseException as error:  # SystemExit too: it ends the request that raised it, not the worker
            self._fail(error)
        finally:
            current.request = None

    def _cut_off(self, why: str) -> None:
        self.io.break_off()
        self._service.log.write("warning", self._environ, f"{why}; the connection was cut off")

    def _fail(self, error: BaseException) -> None:
        """The application raised: 500 if the head is still ours to give, else an end that the web server notices."""
        service, io, response = self._service, self.io, self.response
        if os.getpid() != service.pid:
            leave_copy(error)
        if (io.broken or io.aborted or response.is_enough) and comes_from_peer(error):
            self._abandon()
            return
        if response.finished and isinstance(error, SystemExit) and not error.code:
            text = "sys.exit() has ended the request after its response, not the worker"
            service.log.write("notice", self._environ, text)
            return
        self._slot.count_error()
        service.log.write("error", self._environ, f"uncaught exception\n{format_traceback(error, OUR_FRAMES)}")
        if response.finished:
            return
        if response.started:
            io.break_off()
        else:
            response.status = "500 Internal Server Error"
            self._send_page(ERROR_PAGE)

    def _abandon(self) -> None:
        """Nobody wants more of the answer: the web server is gone, or has all of it."""
        io = self.io
        if self.response.is_enough and not (io.broken or io.aborted or io.finished):
            with suppress(PeerGone):
                io.finish(b"")
        io.abandon()

    def _time_out(self, error: RequestTimeout) -> None:
        """The application has not caught fpm.RequestTimeout: 504 if the head is still ours to give."""
        io, response, what = self.io, self.response, "its response had been sent"
        if os.getpid() != self._service.pid:
            leave_copy(error)
        self._slot.count_error()
        if io.broken or (response.started and not response.finished):
            what = "its response was cut off"
            io.break_off()
        elif not response.finished:
            what = "answered 504"
            response.status = "504 Gateway Timeout"
            self._send_page(TIMEOUT_PAGE)
        self._service.log.write("notice", self._environ, f"fpm.RequestTimeout was not caught, {what}")

    def _send_page(self, page: bytes) -> None:
        """Answer with a page of ours."""
        try:
            self.response.send_page(page)
        except PeerGone:
            self.io.abandon()

    # ---------------------------------------------------------------- the work after the response

    def _get_background(self) -> BackgroundWork:
        if self._background is None:
            self._background = BackgroundWork(self._service, self._environ)
        return self._background

    def _run_before_end(self) -> bool:
        """If the end of the response is held back: do the work, and send it; True if there is work for after it."""
        background = self._background
        if background is None:
            return False
        if background.is_held_back:
            self._run_calls(background)
            background.send_held()
        return background.is_waiting

    def _let_go(self, background: BackgroundWork) -> None:
        """The response is out and the application goes on: the connection, the log and the others need not wait."""
        background.begin()
        self.io.release()

    def _run_calls(self, background: BackgroundWork) -> None:
        current.request = self
        try:
            background.run()
        finally:
            current.request = None

    # ---------------------------------------------------------------- what is kept of it

    def _account(self, *, is_done: bool) -> None:
        """The response is out.

        Args:
            is_done: nothing comes after it; while something does, the scoreboard shows no duration.
        """
        self._slow = self._service.accounting.account(
            self.io, self.response, self._path, self._epoch, self._cpu, is_done=is_done
        )

    def _account_work(self) -> None:
        """The work after the response is done: of an idle worker, the last request is shown with it."""
        service, duration = self._service, int((monotonic() - self.io.started) * 1e6)
        is_tracked = service.settings.given.request_terminate_timeout_track_finished and not self._slow
        slow = is_tracked and duration > service.settings.slow_limit
        self._slot.end(duration, service.accounting.measure_work(self._path, duration, self._cpu), slow)
        if slow:
            service.accounting.report_slow(self._environ, self._path, duration)


OUR_FRAMES = {Request._call_application.__code__, run_application.__code__}
"""Code between the worker and the application, which a traceback need not show."""
