"""The end of slow requests: how long they have really taken, for the list in the status and for the slow log.

A worker tells how long a request took that was slow; of one that ends with its worker, the master tells it. What a
worker says is believed for its own pool only, and written at most once for each request that has an entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from fpm.events.base import PoolEvent
from fpm.events.worker import SlowRequestEnded
from fpm.master.pool.child import Child
from fpm.master.pool.current_config import CurrentConfig
from fpm.master.pool.death_report import stack_lines
from fpm.master.pool.stack_capture import read_current_request
from fpm.master.services import Services
from fpm.master.slowlog.slow_log import SlowLog
from fpm.protocol.messages import SlowRequest
from fpm.stacks.text.entry import Entry
from fpm.stacks.trace import Trace

FRAMES_MAX = 20
FRAME_MAX = 200
"""Characters of a line of a stack."""


class SlowRequests:
    """Notes the ends of one pool's slow requests."""

    def __init__(
        self, services: Services, current: CurrentConfig, slow_log: SlowLog, emit: Callable[[PoolEvent], None]
    ) -> None:
        self._services = services
        self._current = current
        self._slow_log = slow_log
        self._emit = emit

    def told(self, child: Child, message: SlowRequest) -> None:
        """A worker says how long a request has taken."""
        notes = child.notes
        seconds = min(message.microseconds / 1e6, max(self._services.loop.now - notes.started, 0.0))
        is_logged = 0 < message.number == notes.stack_request
        self._tell(child, message.request, seconds, message.number)
        if is_logged and notes.ended_entry != message.number:
            notes.ended_entry = message.number
            self._write(child, seconds, "complete")

    def cut_off(self, child: Child) -> None:
        """A worker has gone; its slot is as it was at the end."""
        work, notes = read_current_request(child, self._services.loop.now), child.notes
        if 0 < work.number == notes.logged_request != notes.ended_entry:
            self._tell(child, work.name, work.seconds, work.number)
        if 0 < work.number == notes.stack_request:
            self._write(child, work.seconds, "cut off")

    def _tell(self, child: Child, request: str, seconds: float, number: int) -> None:
        pool, pid = self._current.config.name, child.process.name
        self._emit(SlowRequestEnded(request, seconds, short_stack(child, number), pool=pool, pid=pid))

    def _write(self, child: Child, seconds: float, how: Literal["complete", "cut off"]) -> None:
        config, (method, uri) = self._current.config, child.notes.stack_name
        pid, now = child.process.name, self._services.clock()
        self._slow_log.write(
            Entry(now, config.name, pid, "end", config.app, method, uri, seconds, how, 1, Trace(pid, ""))
        )


def short_stack(child: Child, number: int) -> tuple[str, ...]:
    """The last stack that was taken of this request of a worker, for the status; () if there is none."""
    trace = child.notes.last_stack if 0 < number == child.notes.stack_request else None
    if trace is None or not trace.threads:
        return ()
    return tuple([line[:FRAME_MAX] for line in stack_lines(trace, wanted=False)][:FRAMES_MAX])
