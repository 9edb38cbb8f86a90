"""What workers say on their channels. Nothing of it is believed beyond their own pool."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fpm.config.model import PoolConfig
from fpm.events.base import PoolEvent
from fpm.events.worker import (
    MemoryLimitLow,
    MemoryLimitNotApplied,
    MessageRefused,
    StrangerRejected,
    WorkerLogged,
    WorkerOverMemory,
)
from fpm.master.loop.channel import Received, limit_lines, one_line
from fpm.master.loop.fair_reader import Share
from fpm.master.pool.child import Child
from fpm.master.pool.current_config import CurrentConfig
from fpm.master.pool.history import MAX_MEMORY, MAX_REQUESTS
from fpm.master.pool.slow_requests import SlowRequests
from fpm.master.pool.termination import Keeper
from fpm.master.pool.worker_state import WorkerEvent, WorkerState
from fpm.master.processes.backoff import YOUNG
from fpm.master.services import Services
from fpm.protocol.messages import (
    EXIT_CALLS,
    Event,
    Exiting,
    Failed,
    LargeAtStart,
    LimitReached,
    LogText,
    Named,
    Serve,
    Serving,
    SlowRequest,
    WorkerReady,
)
from fpm.protocol.wire import MessageError


class WorkerMessages:
    """Reads what the workers of one pool say."""

    def __init__(
        self,
        services: Services,
        share: Share,
        recycling: Recycling,
        slow_requests: SlowRequests,
        keeper: Keeper,
        emit: Callable[[PoolEvent], None],
    ) -> None:
        self._services = services
        self._share = share
        self._recycling = recycling
        self._slow_requests = slow_requests
        self._keeper = keeper
        self._emit = emit

    def watch(self, child: Child) -> None:
        """Read whatever comes from now on."""
        child.watch_channel(self._share, lambda: self._read(child))

    def read_last(self, child: Child) -> None:
        """Read what is left: an exit may be reported before the worker's own last messages have been read."""
        if child.is_heard and not child.channel.receive_last(self._share, partial(self._on_message, child)):
            self._hang_up(child)

    def _read(self, child: Child) -> None:
        _, alive = child.channel.receive(self._share, partial(self._on_message, child))
        if not alive:
            self._hang_up(child)

    def _hang_up(self, child: Child) -> None:
        child.forget_channel()
        self._keeper.happen(child, WorkerEvent.HUNG_UP)

    def _on_message(self, child: Child, received: Received[Event | MessageError]) -> None:
        if not child.pid:
            if not child.process.learn(received.pid, child.template.pid):
                self._emit(StrangerRejected(pool=self._pool, pid=received.pid))
                child.channel.socket.shutdown(2)
                return
            if "pid" in child.template.spec.namespaces:
                child.channel.send(Named(child.pid, child.template.pid))
            self._keeper.happen(child, WorkerEvent.FORKED)
        match message := received.message:
            case WorkerReady():
                child.own_stack.listens = message.stack
                self._keeper.happen(child, WorkerEvent.READY)
            case Serving():
                self._keeper.happen(child, WorkerEvent.SERVING)
            case Failed():
                self._on_failed(child, message)
            case LimitReached():
                self._on_limit(child, message)
            case LargeAtStart():
                self._recycling.over_memory_at_start(child, message.memory)
            case LogText():
                text = limit_lines(message.text)
                self._emit(WorkerLogged(message.level, text, message.request, pool=self._pool, pid=child.pid))
            case SlowRequest():
                self._slow_requests.told(child, message)
            case Exiting():
                child.notes.exit_calls = tuple(one_line(call) for call in message.calls[:EXIT_CALLS])
            case MessageError() if not child.channel.has_refused:
                child.channel.has_refused = True
                self._emit(MessageRefused("worker", str(message), pool=self._pool, pid=child.pid))

    def _on_failed(self, child: Child, message: Failed) -> None:
        traceback = limit_lines(message.traceback)
        self._keeper.happen(
            child, WorkerEvent.FAILED, reason="import failed", error=one_line(message.error), traceback=traceback
        )

    def _on_limit(self, child: Child, message: LimitReached) -> None:
        memory = message.memory
        if not is_at_limit(self._recycling.config, memory, min(message.requests, child.slot.read().requests)):
            child.channel.send(Serve())  # the limit may have been changed meanwhile
            return
        former: WorkerState = child.state
        self._keeper.happen(child, WorkerEvent.LIMIT, reason=MAX_MEMORY if memory else MAX_REQUESTS)
        if memory and child.state is not former:
            self._recycling.over_memory(child, memory)

    @property
    def _pool(self) -> str:
        return self._recycling.config.name


def is_at_limit(config: PoolConfig, memory: int, requests: int) -> bool:
    """Tell whether a worker with this peak of memory (0: not because of it) and so many requests is to be replaced."""
    if memory:
        return 0 < config.pm_max_memory < memory
    return 0 < config.pm_max_requests <= requests


FEW = 10
"""Requests: a young worker that has grown beyond pm.max_memory with so few does not leak, it needs that much."""


class Recycling:
    """Says it for one pool."""

    def __init__(self, services: Services, current: CurrentConfig, emit: Callable[[PoolEvent], None]) -> None:
        self._services = services
        self._current = current
        self._emit = emit
        self._warned_of = 0
        """The value of pm.max_memory (bytes) that has been said to be too small."""

    @property
    def config(self) -> PoolConfig:
        """The configuration in force."""
        return self._current.config

    def over_memory(self, child: Child, memory: int, request: str = "") -> None:
        """A worker is replaced because of the bytes of its peak, or of its size.

        Args:
            request: the one that runs, or "".
        """
        limit, requests = self.config.pm_max_memory, child.slot.read().requests
        name, pid = self.config.name, child.pid
        self._emit(WorkerOverMemory(memory, limit, requests, request, pool=name, pid=pid))
        age = self._services.loop.now - child.notes.started
        if age < YOUNG and requests <= FEW:
            self._warn(MemoryLimitLow(limit, requests, age, pool=name, pid=pid))

    def over_memory_at_start(self, child: Child, memory: int) -> None:
        """A worker has used more than pm.max_memory before its first request: it serves without the limit."""
        child.notes.memory_at_start = max(child.notes.memory_at_start, memory)
        if memory:
            self._warn(MemoryLimitNotApplied(memory, self.config.pm_max_memory, pool=self.config.name, pid=child.pid))

    def _warn(self, event: PoolEvent) -> None:
        if self._warned_of != self.config.pm_max_memory:
            self._warned_of = self.config.pm_max_memory
            self._emit(event)
