"""Serves one request: from its variables to the last byte of its answer, its line in the access log, its slot."""

from __future__ import annotations

import os
import resource
import sys
import time
import traceback
from io import BytesIO
from tempfile import TemporaryFile
from time import monotonic
from time import process_time

from fpm.library import current
from fpm.library import finish_request
from fpm.log.access import AccessRecord
from fpm.log.escape import decode_wire
from fpm.log.escape import escape
from fpm.pool.access_log import AccessLog
from fpm.pool.exchange import Exchange
from fpm.pool.own_pages import OwnPages
from fpm.pool.reports import Reports
from fpm.pool.spec import WorkerSettings
from fpm.pool.wire import PeerGone
from fpm.scoreboard.stages import Stage
from fpm.scoreboard.writer import SlotWriter
from fpm.wsgi.body import BodyStream
from fpm.wsgi.environ import Environ
from fpm.wsgi.environ import complete_environ
from fpm.wsgi.environ import content_length
from fpm.wsgi.response import ERROR_PAGE
from fpm.wsgi.response import FileWrapper
from fpm.wsgi.response import Response
from fpm.wsgi.response import WSGIApp
from fpm.wsgi.response import run_application

_EXECUTING = int(Stage.EXECUTING)
_LONG = 1000
"""Microseconds from which a request is long: worth a look at the CPU clock and at the memory."""
_MEASURE_EVERY = 32
"""Of short requests only every so many-th is measured."""
_NEVER = 1 << 62
"""Microseconds that no request takes."""
SPOOL_BLOCK = 65536
SLOW_REQUEST_MAX = 1024
"""Characters of a slow request's method and URI that are told."""


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
        self._slow_limit = settings.slow_limit or _NEVER
        self._spool = settings.body_spool
        self._pool = settings.pool
        self._script = settings.app_name
        self._slot = slot
        self._reports = reports
        self.access_log = access_log
        self._pid = os.getpid()
        self._last_was_long = False
        self._cpu_mark = process_time()
        self._constants: Environ = {
            "wsgi.version": (1, 0),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
            "fpm.finish_request": finish_request,
        }

    def apply(self, settings: WorkerSettings, log_fd: int | None) -> int | None:
        """Serve by new settings of the same application.

        Args:
            log_fd: the access log, if it is another one than before.

        Returns:
            `log_fd` if no log is wanted; the caller closes it.
        """
        self._pages = self._pages.with_settings(settings)
        self._own_paths = self._pages.paths
        self._slow_limit = settings.slow_limit or _NEVER
        former = self.access_log
        if not settings.access_format:
            self.access_log = None
        elif log_fd is not None:
            self.access_log, log_fd = AccessLog(settings, log_fd), None
        elif former is not None:
            self.access_log, former = AccessLog(settings, former.fd), None
        if former is not None:
            os.close(former.fd)
        return log_fd

    def serve(self, exchange: Exchange, environ: Environ, peer: str) -> None:
        """Serves a request whose variables are in `environ`, and leaves the exchange finished or broken."""
        cpu = process_time() if self._last_was_long else -1.0
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
        self._answer(exchange, environ, response, path)
        duration = used = int((monotonic() - exchange.started) * 1e6)
        if duration > _LONG or cpu >= 0 or slot.requests % _MEASURE_EVERY == 1:
            used = self._measure(duration, cpu)
        slow = duration > self._slow_limit
        slot.end(duration, used, slow)
        if slow:
            self._report_slow(environ, path, duration)
        if self.access_log is not None:
            self._log_access(self.access_log, environ, response, path, peer, now, duration, used)

    def _measure(self, duration: int, cpu: float) -> int:
        """CPU time of the request in microseconds, and the memory; both cost system calls.

        A short request has not had the time to wait for much, so its CPU time is taken to be its duration. Whether a
        request will be long is not known when it begins: the first long one after short ones has its CPU time from the
        last measurement on, but not more than its duration; from the second on it is exact.
        """
        self._slot.write_memory(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        self._last_was_long = duration > _LONG
        before, self._cpu_mark = self._cpu_mark, process_time()
        if cpu >= 0:
            return int((self._cpu_mark - cpu) * 1e6)
        return min(duration, int((self._cpu_mark - before) * 1e6))

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
            if not exchange.finished or response.surplus:
                self._check_length(exchange, environ, response)
        except PeerGone:
            exchange.abandon()
        except BaseException as error:  # SystemExit too: it ends the request that raised it, not the worker
            self._fail(error, exchange, response, environ)
        finally:
            current.request = None

    def _check_length(self, exchange: Exchange, environ: Environ, response: Response) -> None:
        """An application that gave more or less than its own Content-Length is told so."""
        if response.short and not exchange.finished:
            exchange.break_off()
            self._log("warning", environ, "the body is shorter than its Content-Length; the connection was cut off")
        elif response.surplus:
            self._log("warning", environ, f"{response.surplus} bytes beyond the Content-Length were not sent")

    def _fail(self, error: BaseException, exchange: Exchange, response: Response, environ: Environ) -> None:
        """The application raised: 500 if the head is still ours to give, else an end that the web server notices."""
        if (exchange.broken or exchange.aborted) and _comes_from_peer(error):
            exchange.abandon()
            return
        self._slot.count_error()
        self._log("error", environ, f"uncaught exception\n{_format_traceback(error)}")
        if exchange.finished:
            return
        if response.started:
            exchange.break_off()
            return
        response.status = "500 Internal Server Error"
        head, empty, body = ERROR_PAGE.partition(b"\r\n\r\n")
        try:
            exchange.finish(head + empty + (b"" if environ["REQUEST_METHOD"] == "HEAD" else body))
        except PeerGone:
            exchange.abandon()

    def _report_slow(self, environ: Environ, path: str, duration: int) -> None:
        """For the list of slow requests that the daemon's own pages show."""
        # The application may have taken anything out of its environ.
        method, query = environ.get("REQUEST_METHOD", ""), environ.get("QUERY_STRING", "")
        uri = f"{path}?{query}" if query else path
        request = decode_wire(f"{method} {uri}"[:SLOW_REQUEST_MAX])
        self._reports.send({"event": "slow", "request": request, "microseconds": duration})

    def _log(self, level: str, environ: Environ, text: str) -> None:
        """A line for the error log that says which request it is about."""
        uri = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
        if environ["QUERY_STRING"]:
            uri += "?" + environ["QUERY_STRING"]
        request = escape(decode_wire(f"{environ['REQUEST_METHOD']} {uri}"))
        self._reports.log(level, f"[pool {self._pool}] child {self._pid}, {request}: {text}")

    def _spool_body(self, environ: Environ) -> None:
        """Reads a body of unknown length into a temporary file, for frameworks that need CONTENT_LENGTH."""
        file = TemporaryFile()  # noqa: SIM115  the application reads it; it is closed with the request
        while block := environ["wsgi.input"].read(SPOOL_BLOCK):
            file.write(block)
        environ["CONTENT_LENGTH"] = str(file.tell())
        file.seek(0)
        environ["wsgi.input"] = file

    def _log_access(
        self,
        log: AccessLog,
        environ: Environ,
        response: Response,
        path: str,
        peer: str,
        now: float,
        duration: int,
        cpu: int,
    ) -> None:
        record = AccessRecord()
        record.pool = self._pool
        record.pid = self._pid
        record.parent_pid = os.getppid()
        record.method = environ["REQUEST_METHOD"]
        record.uri = path
        record.query = environ["QUERY_STRING"]
        record.script = self._script
        record.user = environ.get("REMOTE_USER", "")
        record.remote = peer
        record.status = int(response.status[:3] or 0)
        record.content_length = content_length(environ) or 0
        record.accepted = now
        record.duration = duration
        record.cpu_user = cpu
        record.params = environ
        if log.uses_memory:
            record.memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        record.headers = [
            (name, value) for name, _, value in (line.partition(": ") for line in response.head.split("\r\n")[1:-1])
        ]
        log.write(record)


def _comes_from_peer(error: BaseException) -> bool:
    """Whether it was raised because the web server is gone, directly or by a framework that turned it into its own."""
    cause: BaseException | None = error
    for _ in range(_CHAIN_MAX):
        if cause is None or isinstance(cause, PeerGone):
            break
        cause = cause.__cause__ or cause.__context__
    return isinstance(cause, PeerGone)


def _format_traceback(error: BaseException) -> str:
    """The traceback from the application's first frame on; all of it if there is none."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code in _OUR_FRAMES:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__)).rstrip()


_CHAIN_MAX = 20
"""Exceptions of one chain that are looked at."""
_OUR_FRAMES = (Service._answer.__code__, run_application.__code__)
