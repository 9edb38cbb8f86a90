"""What is kept of a request when its response is complete: its duration, CPU time, a line in the access log."""

from __future__ import annotations

import os
import resource
import time
import traceback
from collections.abc import Callable, Container
from time import process_time
from types import CodeType
from typing import Protocol

from fpm.log.access import AccessRecord, compile_format, suppressed
from fpm.log.escape import decode_wire, escape
from fpm.protocol.messages import SLOW_REQUEST_MAX, LargeAtStart, Level, SlowRequest
from fpm.protocol.spec import WorkerSettings
from fpm.scoreboard.writer import SlotWriter
from fpm.worker.master_channel import MasterChannel
from fpm.worker.settings import NEVER, ActiveSettings
from fpm.worker.socket_io import ignore_sigpipe
from fpm.wsgi.environ import Environ, content_length
from fpm.wsgi.sink import Unsent

NOTICED = 25_000
"""Microseconds that somebody may have to wait for another's request without noticing it."""
LONG = 1000
"""Microseconds from which a request is long: worth a look at the CPU clock and at the memory."""
MEASURE_EVERY = 32
"""Of short requests only every so many-th is measured."""


class Answered(Protocol):
    """What the access log says of a response."""

    @property
    def status(self) -> str:
        """The status, or "" before there was one."""

    @property
    def head(self) -> str:
        """The header fields as lines of text without the status."""


class Accounting:
    """Measures what requests cost, and tells it: to the slot, the master and the access log.

    Args:
        log_fd: the access log, or None.

    Attributes:
        pid, parent: of this process and of its template, as the master knows them; 0: as this process does.
        on_memory: called when pm.max_memory is exceeded, with the bytes; once.
    """

    def __init__(self, settings: ActiveSettings, slot: SlotWriter, master: MasterChannel, log_fd: int | None) -> None:
        self._settings = settings
        self._slot = slot
        self._master = master
        self.access_log: AccessLog | None = None
        if log_fd is not None and settings.given.has_access_log:
            self.access_log = AccessLog(settings.given, log_fd)
        self.pid, self.parent = os.getpid(), 0
        self._memory_at_start = _memory_peak()
        self._memory_limit = NEVER
        self.on_memory: Callable[[int], None] | None = None
        self._cpu_mark = process_time()

    def settings_changed(self, log_fd: int | None) -> int | None:
        """Go on by the settings that are in force now.

        Args:
            log_fd: the access log, if it is another one than before.

        Returns:
            `log_fd` if no log is wanted; the caller closes it.
        """
        settings, former = self._settings.given, self.access_log
        self.limit_memory()
        if not settings.has_access_log:
            self.access_log = None
        elif log_fd is not None:
            self.access_log, log_fd = AccessLog(settings, log_fd), None
        elif former is not None:
            self.access_log, former = AccessLog(settings, former.fd), None
        if former is not None:
            os.close(former.fd)
        return log_fd

    def limit_memory(self) -> None:
        """Watch pm.max_memory from the next measurement on."""
        self._memory_limit = self._settings.given.pm_max_memory or NEVER
        if self._memory_at_start > self._memory_limit:
            # The next worker would be as large: to replace one after each request would help nobody.
            self._memory_limit = NEVER
            self._master.send(LargeAtStart(self._memory_at_start))

    def measure(self, duration: int, cpu: float) -> int:
        """Measure the CPU time of the request in microseconds, and the memory; both cost system calls.

        A short request has not had the time to wait for much, so its CPU time is taken to be its duration. Whether a
        request will be long is not known when it begins: the first long one after short ones has its CPU time from the
        last measurement on, but not more than its duration; from the second on it is exact.
        """
        memory = _memory_peak()
        self._slot.write_memory(memory)
        ignore_sigpipe()  # a module that the request has imported may have set it
        if memory > self._memory_limit and self.on_memory is not None:
            self._memory_limit = NEVER
            self.on_memory(memory)
        self._slot.was_long = duration > LONG
        if duration > NOTICED:
            self._slot.last_long = self._slot.requests
        before, self._cpu_mark = self._cpu_mark, process_time()
        if cpu >= 0:
            return int((self._cpu_mark - cpu) * 1e6)
        return min(duration, int((self._cpu_mark - before) * 1e6))

    def report_slow(self, environ: Environ, path: str, duration: int) -> None:
        """Tell the master of a slow request, for the list that the daemon's own pages show."""
        # The application may have taken anything out of its environ.
        method, query = environ.get("REQUEST_METHOD", ""), environ.get("QUERY_STRING", "")
        uri = f"{path}?{query}" if query else path
        request = decode_wire(f"{method} {uri}"[:SLOW_REQUEST_MAX])
        self._master.send(SlowRequest(request, duration))

    def log_access(
        self,
        environ: Environ,
        response: Answered,
        path: str,
        peer: str,
        now: float,
        duration: int,
        cpu: int,
    ) -> None:
        """Write the line of a request whose response is out."""
        log = self.access_log
        assert log is not None, "it is only called with an access log"
        record = AccessRecord()
        record.pool = self._settings.given.pool
        record.pid = self.pid
        record.parent_pid = self.parent or os.getppid()
        # The application may have taken anything out of its environ, and put anything into it.
        record.method = str(environ.get("REQUEST_METHOD", ""))
        record.uri = path
        record.query = str(environ.get("QUERY_STRING", ""))
        record.script = self._settings.given.app
        record.user = str(environ.get("REMOTE_USER", ""))
        record.remote = peer
        record.status = int(response.status[:3] or 0)
        record.content_length = content_length({"CONTENT_LENGTH": str(environ.get("CONTENT_LENGTH", ""))}) or 0
        record.accepted = now
        record.duration = duration
        record.cpu_user = cpu
        record.params = environ
        if log.uses_memory:
            record.memory = _memory_peak()
        record.headers = [
            (name, value) for name, _, value in (line.partition(": ") for line in response.head.split("\r\n")[:-1])
        ]
        log.write(record)


def _memory_peak() -> int:
    """Bytes: the largest resident size so far, with what is shared with the template (getrusage(2))."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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

    def __init__(self, master: MasterChannel) -> None:
        self._master = master

    def write(self, level: Level, environ: Environ, text: str) -> None:
        """One line, or several."""
        # The application may have taken anything out of its environ.
        uri = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        if query := environ.get("QUERY_STRING"):
            uri += f"?{query}"
        request = escape(decode_wire(f"{environ.get('REQUEST_METHOD', '')} {uri}"))
        self._master.log(level, text, request)


def tell_unsent(log: RequestLog, environ: Environ, unsent: Unsent) -> None:
    """Log what the application has made of a response and was not sent."""
    if unsent.headers:
        what = "it is for the web server to set (PEP 3333) and is not sent; each worker says this once"
        log.write("warning", environ, f"header {', '.join(unsent.headers)}: {what}")
    if unsent.surplus:
        log.write("warning", environ, f"{unsent.surplus} bytes beyond the Content-Length were not sent")
    if unsent.after_end:
        log.write("notice", environ, f"{unsent.after_end} bytes of output after fpm.finish_request() were not sent")


def format_traceback(error: BaseException, ours: Container[CodeType]) -> str:
    """The traceback from the application's first frame on; all of it if there is none.

    Args:
        ours: code of pyfpm, whose frames tell nobody anything.
    """
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code in ours:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__)).rstrip()
