"""`pyfpm trace` as the master answers it: a message for each stack as they come, in the order of the processes.

Only processes of this daemon's pools are traced, whoever asks. Few stacks are taken at a time, and none while the
client does not read, so that an answer of any length needs little memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from fpm.frozen import dataclass
from fpm.master.control import Connection
from fpm.master.pool.child import Child
from fpm.master.pool.stack_capture import CurrentRequest, read_current_request
from fpm.master.pool.supervisor import PoolSupervisor
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.trace_targets import TemplateTarget, WorkerTarget
from fpm.master.pools import Pools
from fpm.master.services import Services
from fpm.master.status.reporting import unknown_pool
from fpm.master.tracing.trace_target import TraceOptions, TraceTarget
from fpm.protocol.tracing import DEPTH_MAX, LocalValues
from fpm.scoreboard.stages import DOING, Stage
from fpm.stacks.credentials import GONE
from fpm.stacks.text.entry import Entry
from fpm.stacks.text.format import Form, format_entry
from fpm.stacks.trace import Trace

AT_ONCE = 8
"""Stacks of one client that are under way."""
WINDOW = 32
"""Stacks of one client that are under way, or wait for one before them."""
UNREAD_MAX = 4 * 1024 * 1024
"""Bytes that may wait for the client before the next stack is taken."""
LOOK_AGAIN = 0.1
"""Seconds until it is tried again whether a client reads."""


class TraceHost(Protocol):
    """What `pyfpm trace` needs of the master."""

    services: Services
    pools: Pools


@dataclass(frozen=True, slots=True)
class _Process:
    """A worker, or (without a child) a template."""

    pool: PoolSupervisor
    template: TemplateProcess
    child: Child | None

    @property
    def pid(self) -> int:
        return self.template.pid if self.child is None else self.child.pid

    @property
    def target(self) -> TraceTarget:
        """It, as tracing sees it."""
        return TemplateTarget(self.template, self.pid) if self.child is None else WorkerTarget(self.child, self.pid)

    @property
    def since(self) -> float:
        """When the worker's request began."""
        return self.child.slot.read().request_start if self.child is not None else 0.0


@dataclass(frozen=True, slots=True)
class _Selection:
    """The processes to trace, and what is said of the others."""

    processes: list[_Process]
    idle: dict[str, list[int]]
    """By pool: workers that wait for a request, whose stacks say nothing."""
    quiet: list[str]
    """Pools without a process."""
    by_pid: bool


def run_trace(host: TraceHost, connection: Connection, request: Mapping[str, Any]) -> None:
    """Answer one `trace`: `target` (pool or pid; none: all pools), `idle`, `format`, `depth`, `native`, `values`."""
    selection = _select(host, request)
    if isinstance(selection, dict):
        connection.answer(selection)
        return
    _Answering(host.services, connection, selection, request).start()


def _select(host: TraceHost, request: Mapping[str, Any]) -> _Selection | dict[str, Any]:
    name, idle = request.get("target"), bool(request.get("idle"))
    if name is None:
        return _of_pools(host.pools.values(), idle=idle)
    if isinstance(name, str) and name in host.pools:
        return _of_pools([host.pools[name]], idle=idle)
    if not isinstance(name, str) or not (name.isascii() and name.isdigit()):
        return unknown_pool(name, host.pools)
    pid = int(name[:20])
    every = host.pools.all()
    found = [process for pool in every for process in _processes(pool) if process.pid == pid]
    if pid <= 0 or not found:
        return {"ok": False, "error": f"process {name} is not a worker or template of this daemon"}
    return _Selection(found[:1], {}, [], by_pid=True)


def _of_pools(pools: Iterable[PoolSupervisor], *, idle: bool) -> _Selection:
    """Select workers that do something, the longest at it first; of idle ones only the pids, if there are several."""
    processes: list[_Process] = []
    waiting: dict[str, list[int]] = {}
    quiet = []
    for pool in pools:
        workers = [process for process in _processes(pool) if process.child is not None and process.pid]
        resting = [one for one in workers if one.child is not None and one.child.stage is Stage.ACCEPTING]
        busy = sorted((one for one in workers if one not in resting), key=lambda one: one.since)
        starting = [one for one in _processes(pool) if one.child is None and _is_starting(one.template)]
        processes += [*busy, *starting]
        if idle or len(resting) == len(workers) == 1:
            processes += resting
        elif resting:
            waiting[pool.config.name] = [one.pid for one in resting]
        if not workers and not starting:
            quiet.append(pool.config.name)
    return _Selection(processes, waiting, quiet, by_pid=False)


def _processes(pool: PoolSupervisor) -> Iterator[_Process]:
    for child in pool.workers.children:
        yield _Process(pool, child.template, child)
    for template in pool.templates.all():
        yield _Process(pool, template, None)


def _is_starting(template: TemplateProcess) -> bool:
    return template.state.is_importing and template.pid > 0


class _Answering:
    """Takes the stacks that one client wants, and sends them.

    It has more attributes than other classes: what was asked, what is on its way, and who waits.
    """

    def __init__(
        self, services: Services, connection: Connection, selection: _Selection, request: Mapping[str, Any]
    ) -> None:
        self._services = services
        self._connection = connection
        self._selection = selection
        self._left = deque(selection.processes)
        self._form: Form = "json" if request.get("format") == "json" else "text"
        depth, values = request.get("depth"), request.get("values")
        self._depth = depth if isinstance(depth, int) and 0 < depth <= DEPTH_MAX else 0
        self._native = bool(request.get("native"))
        self._values: LocalValues = "types" if values == "types" else "values" if values == "values" else ""
        self._under_way = 0
        self._taken = 0
        self._sent = 0
        self._early: dict[int, str] = {}
        """Entries by their number, that wait for those before them."""
        self._failed = 0
        self._waits = False

    def start(self) -> None:
        """Tell what needs no stack, then take the first stacks."""
        for pool in self._selection.quiet:
            self._connection.answer({"quiet": pool}, last=False)
        self._go_on()

    def _go_on(self) -> None:
        self._waits = False
        while self._left and self._may_take and self._connection.socket.fileno() >= 0:
            if self._connection.unsent > UNREAD_MAX:
                self._wait()
                return
            self._take(self._left.popleft())
        if not self._left and not self._under_way:
            for pool, pids in self._selection.idle.items():
                self._connection.answer({"idle": pool, "pids": pids}, last=False)
            self._connection.answer({"ok": True, "failed": self._failed})

    @property
    def _may_take(self) -> bool:
        return self._under_way < AT_ONCE and self._taken - self._sent < WINDOW

    def _wait(self) -> None:
        if not self._waits:
            self._waits = True
            self._services.loop.call_later(LOOK_AGAIN, self._go_on)

    def _take(self, process: _Process) -> None:
        number, self._taken = self._taken, self._taken + 1
        self._under_way += 1
        config, child, now = process.pool.config, process.child, self._services.loop.now
        depth = self._depth or config.request_slowlog_trace_depth
        work = (
            read_current_request(child, now)
            if child is not None
            else CurrentRequest(0, Stage.FREE, seconds=now - process.template.started)
        )
        asked = self._services.clock()

        def done(trace: Trace) -> None:
            entry = Entry(
                time=asked,
                pool=config.name,
                pid=process.pid,
                reason="trace",
                script=work.script or config.app,
                method=work.method,
                uri=work.uri,
                seconds=work.seconds,
                stage=DOING[work.stage] if child is not None else "template",
                sample=1,
                trace=trace,
            )
            self._answer(number, format_entry(entry, self._form, depth), trace)

        self._services.stacks.take(
            process.target, TraceOptions(depth, self._native, self._values, is_asked_for=True), done
        )

    def _answer(self, number: int, text: str, trace: Trace) -> None:
        """Send a stack when those of all processes before it have been sent."""
        self._under_way -= 1
        if trace.error and (self._selection.by_pid or trace.error != GONE):
            self._failed += 1
        self._early[number] = text
        while self._sent in self._early:
            self._connection.answer({"entry": self._early.pop(self._sent)}, last=False)
            self._sent += 1
        if not self._waits:
            self._go_on()
