"""What is kept of a request when its response is complete: its duration, CPU time, a line in the access log."""

from __future__ import annotations

import os
import resource
import time
import traceback
from collections.abc import Callable
from time import monotonic, process_time
from types import CodeType

from fpm.log.access import AccessRecord, compile_format, suppressed
from fpm.log.escape import decode_wire, escape
from fpm.protocol.messages import SLOW_REQUEST_MAX, LargeAtStart, Level, SlowRequest
from fpm.protocol.spec import WorkerSettings
from fpm.scoreboard.writer import SlotWriter
from fpm.worker.master_channel import Reports
from fpm.worker.request_io import Exchange
from fpm.wsgi.environ import Environ, content_length
from fpm.wsgi.response import Response

Turn = tuple[Exchange, Environ, Response, str, str, float, float]
"""A request that is being served: exchange, environ, response, its whole path, the peer's address, its start (epoch
seconds) and the process's CPU time at its start (seconds; -1.0: not measured). A tuple, as each request makes one."""

_LONG = 1000
"""Microseconds from which a request is long: worth a look at the CPU clock and at the memory."""
_MEASURE_EVERY = 32
"""Of short requests only every so many-th is measured."""
_NEVER = 1 << 62
"""Microseconds that no request takes."""


class Accounting:
    """Of one worker."""

    def __init__(
        self, settings: WorkerSettings, slot: SlotWriter, reports: Reports, access_log: AccessLog | None
    ) -> None:
        self._pool = settings.pool
        self._script = settings.app
        self._slow_limit = _slow_limit(settings)
        self._slow_tracked = settings.request_terminate_timeout_track_finished
        self._slow_told = 0.0
        """When the last request began that was slow at its response."""
        self._slot = slot
        self._reports = reports
        self.access_log = access_log
        self._pid = os.getpid()
        self._memory_at_start = _memory_peak()
        self._memory_limit = _NEVER
        self.on_memory: Callable[[int], None] | None = None
        """Called when pm.max_memory is exceeded, with the bytes; once."""
        self.last_was_long = False
        """Then the next one is measured from its start."""
        self._cpu_mark = process_time()

    def apply(self, settings: WorkerSettings, log_fd: int | None) -> int | None:
        """Go on by new settings.

        Args:
            log_fd: the access log, if it is another one than before.

        Returns:
            `log_fd` if no log is wanted; the caller closes it.
        """
        self._slow_limit = _slow_limit(settings)
        self._slow_tracked = settings.request_terminate_timeout_track_finished
        self.limit_memory(settings.pm_max_memory)
        former = self.access_log
        if not settings.has_access_log:
            self.access_log = None
        elif log_fd is not None:
            self.access_log, log_fd = AccessLog(settings, log_fd), None
        elif former is not None:
            self.access_log, former = AccessLog(settings, former.fd), None
        if former is not None:
            os.close(former.fd)
        return log_fd

    def limit_memory(self, limit: int) -> None:
        """pm.max_memory in bytes, 0 for none; from the next measurement on."""
        self._memory_limit = limit or _NEVER
        if self._memory_at_start > self._memory_limit:
            # The next worker would be as large: to replace one after each request would help nobody.
            self._memory_limit = _NEVER
            self._reports.send(LargeAtStart(self._memory_at_start))

    def close(self, turn: Turn, *, done: bool = True) -> None:
        """The response is complete.

        Args:
            done: the worker is done with the request too; while it is not, the scoreboard shows no duration.
        """
        exchange, environ, response, path, peer, now, cpu = turn
        slot = self._slot
        duration = used = int((monotonic() - exchange.started) * 1e6)
        if duration > _LONG or cpu >= 0 or slot.requests % _MEASURE_EVERY == 1 or response.unusual:
            used = self._measure(duration, cpu)
        slow = duration > self._slow_limit
        slot.end(duration if done else 0, used, slow)
        if slow:
            self._slow_told = exchange.started
            self._report_slow(environ, path, duration)
        if self.access_log is not None:
            self._log_access(self.access_log, environ, response, path, peer, now, duration, used)

    def close_work(self, turn: Turn) -> None:
        """The work after the response is done: of an idle worker, the last request is shown with it."""
        exchange, environ, _, path, _, _, cpu = turn
        duration = int((monotonic() - exchange.started) * 1e6)
        slow = self._slow_tracked and duration > self._slow_limit and self._slow_told != exchange.started
        self._slot.end(duration, self._measure(duration, cpu), slow)
        if slow:
            self._report_slow(environ, path, duration)

    def _measure(self, duration: int, cpu: float) -> int:
        """CPU time of the request in microseconds, and the memory; both cost system calls.

        A short request has not had the time to wait for much, so its CPU time is taken to be its duration. Whether a
        request will be long is not known when it begins: the first long one after short ones has its CPU time from the
        last measurement on, but not more than its duration; from the second on it is exact.
        """
        memory = _memory_peak()
        self._slot.write_memory(memory)
        if memory > self._memory_limit and self.on_memory is not None:
            self._memory_limit = _NEVER
            self.on_memory(memory)
        self.last_was_long = duration > _LONG
        before, self._cpu_mark = self._cpu_mark, process_time()
        if cpu >= 0:
            return int((self._cpu_mark - cpu) * 1e6)
        return min(duration, int((self._cpu_mark - before) * 1e6))

    def _report_slow(self, environ: Environ, path: str, duration: int) -> None:
        """For the list of slow requests that the daemon's own pages show."""
        # The application may have taken anything out of its environ.
        method, query = environ.get("REQUEST_METHOD", ""), environ.get("QUERY_STRING", "")
        uri = f"{path}?{query}" if query else path
        request = decode_wire(f"{method} {uri}"[:SLOW_REQUEST_MAX])
        self._reports.send(SlowRequest(request, duration))

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
            record.memory = _memory_peak()
        record.headers = [
            (name, value) for name, _, value in (line.partition(": ") for line in response.head.split("\r\n")[1:-1])
        ]
        log.write(record)


def _memory_peak() -> int:
    """Bytes: the largest resident size so far, with what is shared with the template (getrusage(2))."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _slow_limit(settings: WorkerSettings) -> int:
    """Give request_slowlog_timeout in microseconds; 0, which is off, is never reached."""
    return int(settings.request_slowlog_timeout * 1e6) or _NEVER


class AccessLog:
    """The access log of a worker.

    Raises:
        ValueError: the format is wrong; the master has checked it before.
    """

    def __init__(self, settings: WorkerSettings, fd: int) -> None:
        self._format = compile_format(settings.access_format, settings.log_limit)
        self._paths = frozenset(settings.access_suppress_path)
        self.fd = fd
        self.uses_memory = self._format.uses_memory

    def replace_descriptor(self, fd: int) -> None:
        """The log was reopened: the new file takes the place of the old one."""
        os.dup2(fd, self.fd, inheritable=False)
        os.close(fd)

    def write(self, record: AccessRecord) -> None:
        """Writes a record unless its path is suppressed. A full disk costs the line, not the request."""
        record.written = time.time()
        if suppressed(record, self._paths):
            return
        line = self._format.render(record) + "\n"
        try:
            os.write(self.fd, line.encode("utf-8", "backslashreplace"))
        except OSError:
            return


class RequestLog:
    """Lines that say which request they are about."""

    def __init__(self, pool: str, reports: Reports) -> None:
        self._head = f"[pool {pool}] child {os.getpid()}"
        self._reports = reports

    def write(self, level: Level, environ: Environ, text: str) -> None:
        """One line, or several."""
        # The application may have taken anything out of its environ.
        uri = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        if query := environ.get("QUERY_STRING"):
            uri += f"?{query}"
        request = escape(decode_wire(f"{environ.get('REQUEST_METHOD', '')} {uri}"))
        self._reports.log(level, f"{self._head}, {request}: {text}")


def format_traceback(error: BaseException, ours: tuple[CodeType, ...]) -> str:
    """The traceback from the application's first frame on; all of it if there is none.

    Args:
        ours: code of pyfpm, whose frames tell nobody anything.
    """
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code in ours:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__)).rstrip()
