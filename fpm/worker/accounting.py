"""What is kept of a request when its response is complete: its duration, CPU time, a line in the access log."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from time import monotonic, process_time
from typing import Protocol

from fpm.log.access import compile_format, suppressed
from fpm.log.access_record import AccessRecord
from fpm.log.escape import decode_wire
from fpm.protocol.messages import SLOW_REQUEST_MAX, LargeAtStart, SlowRequest
from fpm.protocol.spec import WorkerSettings
from fpm.scoreboard.counting import ABORTED, NONE, kind_of
from fpm.scoreboard.route_table import RouteTable
from fpm.scoreboard.writer import SlotWriter
from fpm.worker.answer import Answer
from fpm.worker.master_channel import MasterChannel
from fpm.worker.settings import NEVER, ActiveSettings
from fpm.worker.socket_io import ignore_sigpipe
from fpm.wsgi.environ import Environ, content_length
from fpm.wsgi.response import Response

NOTICED = 25_000
"""Microseconds that somebody may have to wait for another's request without noticing it."""
LONG = 1000
"""Microseconds from which a request is long: worth a look at the CPU clock and at the memory."""
MEASURE_EVERY = 32
"""Of short requests only every so many-th is measured."""
WRITE_AFTER = 0.5
"""Seconds that short requests are noted at most, until the next one or a pause, before they are in the table."""


class Answered(Protocol):
    """What the access log says of a response."""

    @property
    def status(self) -> str:
        """The status, or "" before there was one."""

    @property
    def head(self) -> str:
        """The header fields as lines of text without the status."""


class Accounting:
    """Measures what requests cost, and tells it: to the slot, its statistics and routes, the master, the access log.

    It has many attributes: what is measured, and who is told of it.

    Args:
        log_fd: the access log, or None.

    Attributes:
        pid, parent: of this process and of its template, as the master knows them; 0: as this process does.
        on_memory: called when pm.max_memory is exceeded, with the bytes; once.
        routes: where requests are counted by their routes; None: they are not.
        notes: what count_short() of a table in plain Python is still to be told. To write a few in a row costs much
            less than each one between others' requests. They are written with each request that is measured, and in a
            pause: whoever is idle has none.
    """

    def __init__(self, settings: ActiveSettings, slot: SlotWriter, master: MasterChannel, log_fd: int | None) -> None:
        self._settings = settings
        self._slot = slot
        self._master = master
        self.access_log: AccessLog | None = None
        if log_fd is not None and settings.given.has_access_log:
            self.access_log = AccessLog(settings.given, log_fd)
        self.pid, self.parent = os.getpid(), 0
        self._memory = self._memory_at_start = _memory_peak()
        self._table: RouteTable | None = None
        self.routes: RouteTable | None = None
        self.notes: list[tuple[str, int]] = []
        self._takes_notes = False
        self._notes_due = 0.0
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
        self.write_notes()
        self.routes = self._table if settings.request_statistics else None
        if not settings.has_access_log:
            self.access_log = None
        elif log_fd is not None:
            self.access_log, log_fd = AccessLog(settings, log_fd), None
        elif former is not None:
            self.access_log, former = AccessLog(settings, former.fd), None
        if former is not None:
            os.close(former.fd)
        return log_fd

    def count_routes(self, make: Callable[[memoryview, int], RouteTable], table: memoryview) -> None:
        """Count requests by their routes from now on, as far as request_statistics allows.

        Args:
            make: the class that does it; the second argument is the memory's peak.
            table: the slot's table; empty on a scoreboard that has no room for it.
        """
        if len(table):
            self._table = make(table, self._memory_at_start)
            self._takes_notes = make is RouteTable
            self.routes = self._table if self._settings.given.request_statistics else None

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
        memory = self._memory = _memory_peak()
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

    def account(self, io: Answer, response: Response, path: str, epoch: float, cpu: float, *, is_done: bool) -> bool:
        """Keep what is to be known of a request whose response is out; once for each.

        Args:
            path: the whole decoded path.
            epoch: when it began, epoch seconds.
            cpu: the process's CPU time then, in seconds; -1.0: not measured.
            is_done: nothing comes after the response; while something does, the scoreboard shows no duration.

        Returns:
            Whether it was slow.
        """
        slot = self._slot
        now = monotonic()
        duration = used = int((now - io.started) * 1e6)
        is_measured = duration > LONG or cpu >= 0 or slot.requests % MEASURE_EVERY == 1 or response.unusual
        if is_measured:
            used = self.measure(duration, cpu)
        slow = duration > self._settings.slow_limit
        slot.end(duration if is_done else 0, used, slow)
        is_usual = not is_measured and response.status[:1] == "2"
        if is_usual and not (io.first_byte or io.broken or io.aborted or io.cut_off):
            slot.counter.count_usual(duration)
        else:
            self._count(io, response.status, duration, used)
        if self.routes is not None:
            is_failed = response.status[:1] == "5" or slot.failed == slot.requests
            if is_measured or is_failed or not self._takes_notes or self.routes.watching:
                self._count_route(self.routes, path, duration, used, is_failed, is_measured)
            else:
                self.notes.append((path, duration))
                if now > self._notes_due:
                    self.write_notes()
        if slow:
            self.report_slow(io.environ, path, duration)
        if self.access_log is not None:
            self.log_access(io.environ, response, path, io.connection.peer, epoch, duration, used)
        return slow

    def _count_route(
        self, routes: RouteTable, path: str, duration: int, cpu: int, is_failed: bool, is_measured: bool
    ) -> None:
        """Count one for its route at once, as fpm/_hotpath.c does in count_own_route()."""
        self.write_notes()
        # While the memory grows, each request is looked at.
        peak = self._memory if is_measured else _memory_peak() if routes.watching else 0
        routes.count(path, duration, cpu, is_failed, peak)

    def write_notes(self) -> None:
        """Write what is noted into the table of routes."""
        if self.notes:
            assert self._table is not None, "there are no notes without one"
            self._table.count_short(self.notes)
            self.notes.clear()
            self._notes_due = monotonic() + WRITE_AFTER

    def measure_work(self, path: str, duration: int, cpu: float) -> int:
        """Measure a request again, as its work after the response is done; see measure()."""
        used = self.measure(duration, cpu)
        if self.routes is not None:
            self.write_notes()
            self.routes.look(path, self._memory)
        return used

    def _count(self, io: Answer, status: str, duration: int, cpu: int) -> None:
        """Count one that is not as most are; fpm/_hotpath.c has both in count_response()."""
        is_gone = io.broken or io.aborted
        first_byte = int((io.first_byte - io.started) * 1e6) if io.first_byte else duration
        if (is_gone or io.cut_off) and not io.first_byte:
            first_byte, status = NONE, ""
        self._slot.counter.count_response(ABORTED if is_gone else kind_of(status), duration, first_byte, cpu)

    def report_slow(self, environ: Environ, path: str, duration: int) -> None:
        """Tell the master of a slow request, for the list that the daemon's own pages show."""
        # The application may have taken anything out of its environ.
        method, query = environ.get("REQUEST_METHOD", ""), environ.get("QUERY_STRING", "")
        uri = f"{path}?{query}" if query else path
        request = decode_wire(f"{method} {uri}"[:SLOW_REQUEST_MAX])
        self._master.send(SlowRequest(request, duration, self._slot.requests))

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
