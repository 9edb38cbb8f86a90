"""Serves one request: from its variables to the last byte of its answer, its line in the access log, its slot."""

from __future__ import annotations

import os
import resource
import sys
import time
import traceback
from tempfile import TemporaryFile
from time import monotonic
from time import process_time

from fpm.library import current
from fpm.library import finish_request
from fpm.log.access import AccessRecord
from fpm.pool.access_log import AccessLog
from fpm.pool.exchange import Exchange
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

_INFO = int(Stage.INFO)
_EXECUTING = int(Stage.EXECUTING)
_FINISHED = int(Stage.FINISHED)
_IDLE = int(Stage.ACCEPTING)
_MEMORY_EVERY = 32
"""getrusage(2) costs more than a hello world does in Python, so short requests look at their memory only sometimes."""
_LONG = 1000
"""Microseconds from which a request is long enough to look at its memory."""
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
    ) -> None:
        self._application = application
        self._mount = settings.script_name
        self._spool = settings.body_spool
        self._pool = settings.pool
        self._script = settings.app_name
        self._slot = slot
        self._reports = reports
        self._access_log = access_log
        self._pid = os.getpid()
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

    def serve(self, exchange: Exchange, environ: Environ, peer: str) -> None:
        """Serves a request whose variables are in `environ`, and leaves the exchange finished or broken."""
        cpu = process_time()
        now = time.time()
        slot = self._slot
        slot.set_stage(_INFO)
        length = content_length(environ)
        path = complete_environ(environ, self._mount)
        environ.update(self._constants)
        environ["wsgi.input"] = body = BodyStream(exchange.pull, length)
        method = environ["REQUEST_METHOD"]
        slot.begin(
            now=now,
            method=method,
            uri=path,
            query=environ["QUERY_STRING"],
            length=length or 0,
            user=environ.get("REMOTE_USER", ""),
        )
        slot.set_stage(_EXECUTING)
        response = Response(exchange, method)
        current.request = response
        try:
            if self._spool and length is None and exchange.machine is not None:
                self._spool_body(environ, body)
            run_application(self._application, environ, response)
            if response.short and not exchange.finished:
                self._break_off(exchange, environ, path, "body shorter than its Content-Length")
        except PeerGone:
            exchange.abandon()
        except BaseException as error:
            self._fail(error, exchange, response, environ, path)
        finally:
            current.request = None
            slot.set_stage(_FINISHED)
        duration = int((monotonic() - exchange.started) * 1e6)
        cpu_used = int((process_time() - cpu) * 1e6)
        slot.end(duration=duration, cpu=cpu_used)
        if duration > _LONG or slot.requests % _MEMORY_EVERY == 1:
            slot.write_memory(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        if self._access_log is not None:
            self._log_access(self._access_log, environ, response, path, peer, now, duration, cpu_used)

    def _fail(self, error: BaseException, exchange: Exchange, response: Response, environ: Environ, path: str) -> None:
        """The application raised: 500 if the head is still ours to give, else an end that the web server notices."""
        frames = error.__traceback__
        text = "".join(traceback.format_exception(type(error), error, frames))
        method = environ.get("REQUEST_METHOD")
        self._reports.log(
            "error", f"[pool {self._pool}] child {self._pid}: {method} {path}: uncaught exception\n{text}"
        )
        if exchange.finished:
            return
        if response.started:
            exchange.break_off()
            return
        response.status = "500 Internal Server Error"
        try:
            exchange.finish(ERROR_PAGE if method != "HEAD" else ERROR_PAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        except PeerGone:
            exchange.abandon()

    def _break_off(self, exchange: Exchange, environ: Environ, path: str, reason: str) -> None:
        method = environ.get("REQUEST_METHOD")
        self._reports.log("warning", f"[pool {self._pool}] child {self._pid}: {method} {path}: {reason}")
        exchange.break_off()

    def _spool_body(self, environ: Environ, body: BodyStream) -> None:
        """Reads a body of unknown length into a temporary file, for frameworks that need CONTENT_LENGTH."""
        file = TemporaryFile()  # noqa: SIM115  the application reads it; it is closed with the request
        while block := body.read(SPOOL_BLOCK):
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
