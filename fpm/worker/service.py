"""Serves one request: from its variables to the last byte of its answer, its line in the access log, its slot."""

from __future__ import annotations

import os
import sys
import time
from io import BytesIO
from tempfile import TemporaryFile
from time import process_time

from fpm.library import RequestTimeout, after_response, current, finish_request
from fpm.protocol.spec import WorkerSettings
from fpm.scoreboard.stages import Stage
from fpm.scoreboard.writer import SlotWriter
from fpm.worker.accounting import AccessLog, Accounting, RequestLog, Turn, format_traceback
from fpm.worker.background import Background
from fpm.worker.fork_guard import leave_copy
from fpm.worker.master_channel import Reports
from fpm.worker.request_io import Exchange
from fpm.worker.socket_io import PeerGone
from fpm.worker.status_pages import OwnPages
from fpm.wsgi.body import BodyStream
from fpm.wsgi.environ import Environ, complete_environ, content_length
from fpm.wsgi.response import ERROR_PAGE, TIMEOUT_PAGE, FileWrapper, Response, WSGIApp, run_application

_EXECUTING = int(Stage.EXECUTING)
SPOOL_BLOCK = 65536


class Service:
    """The application of a worker and all that is the same for each of its requests."""

    def __init__(
        self,
        settings: WorkerSettings,
        application: WSGIApp,
        slot: SlotWriter,
        reports: Reports,
        access_log: AccessLog | None,
        pages: OwnPages,
    ) -> None:
        self._pages = pages
        self._own_paths = pages.paths
        self._application = application
        self._mount = settings.script_name
        self._spool = settings.request_body_spool
        self._slot = slot
        self._pid = os.getpid()
        self._log = RequestLog(settings.pool, reports)
        self.accounting = Accounting(settings, slot, reports, access_log)
        self.background = Background(slot, self.accounting, self._log, settings.pm_background_max)
        current.host = self.background
        self._constants: Environ = {
            "wsgi.version": (1, 0),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
            "fpm.finish_request": finish_request,
            "fpm.after_response": after_response,
        }

    def apply(self, settings: WorkerSettings, log_fd: int | None) -> int | None:
        """Serve by new settings of the same application, see Accounting.apply()."""
        self._pages = self._pages.with_settings(settings)
        self._own_paths = self._pages.paths
        self.background.set_limit(settings.pm_background_max)
        return self.accounting.apply(settings, log_fd)

    def serve(self, exchange: Exchange, environ: Environ, peer: str) -> bool:
        """Serves a request whose variables are in `environ`, and leaves the exchange finished or broken.

        Returns:
            True if the worker is not done with it: Background.run_released() goes on, and Background.end() ends.
        """
        cpu = process_time() if self.accounting.last_was_long else -1.0
        now = time.time()
        slot = self._slot
        length = None
        path = complete_environ(environ, self._mount)
        environ.update(self._constants)
        if exchange.machine is None:
            environ["wsgi.input"] = BytesIO()
        else:
            length = content_length(environ)
            environ["wsgi.input"] = BodyStream(exchange.pull, length)
        method = environ["REQUEST_METHOD"]
        user = environ.get("REMOTE_USER", "")
        slot.begin(now, method, path, environ["QUERY_STRING"], length or 0, user, exchange.started)
        slot.stages[slot.index] = _EXECUTING
        response = Response(exchange, method)
        background = self.background
        turn = background.turn = exchange, environ, response, path, peer, now, cpu
        self._answer(exchange, environ, response, path)
        if response.unusual:
            return self._end_unusual(turn)
        background.turn = None
        self.accounting.close(turn)
        return False

    def _end_unusual(self, turn: Turn) -> bool:
        """As the end of serve(), for a request after which there is something to say or to do."""
        exchange, environ, response, *_ = turn
        background = self.background
        if response.surplus:
            self._log.write("warning", environ, f"{response.surplus} bytes beyond the Content-Length were not sent")
        if response.dropped:
            text = f"{response.dropped} bytes of output after fpm.finish_request() were not sent"
            self._log.write("notice", environ, text)
        if exchange.released:
            return True
        background.run_held()
        self.accounting.close(turn, done=not background.is_waiting)
        if background.is_waiting:
            return True
        background.end()
        return False

    def _answer(self, exchange: Exchange, environ: Environ, response: Response, path: str) -> None:
        current.request = response
        try:
            if path in self._own_paths and (page := self._pages.answer(path, environ)) is not None:
                response.status = "200 OK"
                exchange.finish(page)
                return
            if self._spool and exchange.machine is not None and "CONTENT_LENGTH" not in environ:
                self._spool_body(environ)
            run_application(self._application, environ, response)
            if not exchange.finished and response.short and not response.finished:
                exchange.break_off()
                text = "the body is shorter than its Content-Length; the connection was cut off"
                self._log.write("warning", environ, text)
        except PeerGone:
            exchange.abandon()
        except RequestTimeout as error:
            self._time_out(error, exchange, response, environ)
        except BaseException as error:  # SystemExit too: it ends the request that raised it, not the worker
            self._fail(error, exchange, response, environ)
        finally:
            current.request = None

    def _fail(self, error: BaseException, exchange: Exchange, response: Response, environ: Environ) -> None:
        """The application raised: 500 if the head is still ours to give, else an end that the web server notices."""
        if os.getpid() != self._pid:
            leave_copy(error)
        if (exchange.broken or exchange.aborted) and _comes_from_peer(error):
            exchange.abandon()
            return
        if response.finished and isinstance(error, SystemExit) and not error.code:
            self._log.write("notice", environ, "sys.exit() has ended the request after its response, not the worker")
            return
        self._slot.count_error()
        self._log.write("error", environ, f"uncaught exception\n{format_traceback(error, _OUR_FRAMES)}")
        if response.finished:
            return
        if response.started:
            exchange.break_off()
            return
        response.status = "500 Internal Server Error"
        _send_page(ERROR_PAGE, exchange, response, environ)

    def _time_out(self, error: RequestTimeout, exchange: Exchange, response: Response, environ: Environ) -> None:
        """The application has not caught fpm.RequestTimeout: 504 if the head is still ours to give."""
        if os.getpid() != self._pid:
            leave_copy(error)
        self._slot.count_error()
        what = "its response had been sent"
        if exchange.broken or (response.started and not response.finished):
            what = "its response was cut off"
            exchange.break_off()
        elif not response.finished:
            what = "answered 504"
            response.status = "504 Gateway Timeout"
            _send_page(TIMEOUT_PAGE, exchange, response, environ)
        self._log.write("notice", environ, f"fpm.RequestTimeout was not caught, {what}")

    def _spool_body(self, environ: Environ) -> None:
        """Reads a body of unknown length into a temporary file, for frameworks that need CONTENT_LENGTH."""
        file = TemporaryFile()  # noqa: SIM115  the application reads it; it is closed with the request
        while block := environ["wsgi.input"].read(SPOOL_BLOCK):
            file.write(block)
        environ["CONTENT_LENGTH"] = str(file.tell())
        file.seek(0)
        environ["wsgi.input"] = file


def _send_page(page: bytes, exchange: Exchange, response: Response, environ: Environ) -> None:
    """Answers with a page of ours."""
    head, empty, body = page.partition(b"\r\n\r\n")
    try:
        response.send_page(head + empty + (b"" if environ["REQUEST_METHOD"] == "HEAD" else body))
    except PeerGone:
        exchange.abandon()


def _comes_from_peer(error: BaseException) -> bool:
    """Whether it was raised because the web server is gone, directly or by a framework that turned it into its own."""
    cause: BaseException | None = error
    for _ in range(_CHAIN_MAX):
        if cause is None or isinstance(cause, PeerGone):
            break
        cause = cause.__cause__ or cause.__context__
    return isinstance(cause, PeerGone)


_CHAIN_MAX = 20
"""Exceptions of one chain that are looked at."""
_OUR_FRAMES = (Service._answer.__code__, run_application.__code__)
