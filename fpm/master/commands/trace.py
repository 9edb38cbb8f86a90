"""`pyfpm trace` as the master answers it: a message for each stack as they come, in the order of the processes.

Only processes of this daemon's pools are traced, whoever asks. Few stacks are taken at a time, and none while the
client does not read, so that an answer of any length needs little memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
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
PACE_MAX = 60.0
"""Seconds between two stacks that a client may want at most."""


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

    def work(self, now: float) -> CurrentRequest:
        """What it does; `now` is monotonic seconds."""
        if self.child is not None:
            return read_current_request(self.child, now)
        return CurrentRequest(0, Stage.FREE, seconds=now - self.template.started)

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
    """Answer one `trace`: `target` (pool or pid; none: all pools), `idle`, `format`, `depth`, `native`, `values`.

    With `most`, not more processes than that are looked at, those of `first` (pids) before others, and the answer says
    how many are left out; with `pace`, that many seconds lie between two looks at processes of a pool, also at those
    that others want in this way.
    """
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


def _chosen(processes: list[_Process], request: Mapping[str, Any]) -> list[_Process]:
    """Put the processes that the client wants first in front, and leave out those that are too many."""
    most, first = request.get("most"), request.get("first")
    if isinstance(first, list):
        order = {pid: place for place, pid in enumerate(first) if isinstance(pid, int)}
        processes = sorted(processes, key=lambda one: order.get(one.pid, len(first)))
    return processes[:most] if isinstance(most, int) and most >= 0 else processes


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
        pace = request.get("pace")
        self._left = deque(_chosen(selection.processes, request))
        self._left_out = len(selection.processes) - len(self._left)
        self._pace = min(float(pace), PACE_MAX) if isinstance(pace, int | float) and pace > 0 else 0.0
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
            process = self._left[0]
            work = process.work(self._services.loop.now)
            pause = self._pause(process, work)
            if self._connection.unsent > UNREAD_MAX or pause:
                self._wait(max(pause, LOOK_AGAIN))
                return
            self._left.popleft()
            self._take(process, work)
        if not self._left and not self._under_way:
            for pool, pids in self._selection.idle.items():
                self._connection.answer({"idle": pool, "pids": pids}, last=False)
            more = {"left_out": self._left_out} if self._left_out else {}
            self._connection.answer({"ok": True, "failed": self._failed, **more})

    @property
    def _may_take(self) -> bool:
        return self._under_way < AT_ONCE and self._taken - self._sent < WINDOW

    def _wait(self, seconds: float) -> None:
        if not self._waits:
            self._waits = True
            self._services.loop.call_later(seconds, self._go_on)

    def _pause(self, process: _Process, work: CurrentRequest) -> float:
        """Seconds until it may be looked at; 0.0 if somebody has just done so."""
        looks, now, pool = self._services.looks, self._services.loop.now, process.pool.config.name
        if not self._pace or looks.find(pool, self._what(process, work), now, self._pace) is not None:
            return 0.0
        return looks.pause(pool, now, self._pace)

    def _what(self, process: _Process, work: CurrentRequest) -> Hashable:
        return process.pid, work.number, self._options(process)

    def _options(self, process: _Process) -> TraceOptions:
        depth = self._depth or process.pool.config.request_slowlog_trace_depth
        return TraceOptions(depth, self._native, self._values, is_asked_for=True)

    def _take(self, process: _Process, work: CurrentRequest) -> None:
        number, self._taken = self._taken, self._taken + 1
        self._under_way += 1
        loop, looks, options = self._services.loop, self._services.looks, self._options(process)

        def done(entry: Entry) -> None:
            self._answer(number, format_entry(entry, self._form, options.depth), entry.trace)

        if not self._pace:
            self._look(process, work, options, done)
            return
        pool, what = process.pool.config.name, self._what(process, work)
        look = looks.find(pool, what, loop.now, self._pace)
        if look is None:
            look = looks.begin(pool, what, loop.now)
            self._look(process, work, options, look.finish)
        if (seen := look.seen) is not None:
            loop.call_later(0.0, lambda: done(seen))
        else:
            look.waiting.append(done)

    def _look(
        self, process: _Process, work: CurrentRequest, options: TraceOptions, done: Callable[[Entry], object]
    ) -> None:
        config, asked = process.pool.config, self._services.clock()

        def taken(trace: Trace) -> None:
            entry = Entry(
                time=asked,
                pool=config.name,
                pid=process.pid,
                reason="trace",
                script=work.script or config.app,
                method=work.method,
                uri=work.uri,
                seconds=work.seconds,
                stage=DOING[work.stage] if process.child is not None else "template",
                sample=1,
                trace=trace,
            )
            done(entry)

        self._services.stacks.take(process.target, options, taken)

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
