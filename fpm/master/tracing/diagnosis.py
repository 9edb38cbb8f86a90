"""Whether stacks can be taken here: found out by taking one, of each kind of process that a daemon has.

Only pools that want stacks are tried, once for each user and interpreter, when a template is ready; nobody waits for
the result. A machine under load is not mistaken for one that forbids it: failures are tried again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from fpm.config.model import PoolConfig
from fpm.events.master import StacksAvailable
from fpm.events.pool import StacksUnavailable
from fpm.master.core import Core
from fpm.master.loop.loop import Timer
from fpm.master.tracing.trace_target import TraceDone, TraceOptions, TraceTarget
from fpm.stacks.credentials import GONE
from fpm.stacks.layout import Layout
from fpm.stacks.trace import Trace

CALM = 0.5
"""Seconds after a template is ready: first come its workers."""
AT_ONCE = 2
"""Templates that measure their interpreters at the same time: each takes a tenth of a second of CPU time."""
TRIES = 3
PAUSE = 1.0
"""Seconds between two tries."""

ProcessKind = tuple[int, int, str]
"""uid, gid and interpreter: these decide whether a process can be traced."""


def wants_stacks(config: PoolConfig) -> bool:
    """Decide whether a limit of the pool leads to stacks that nobody asks for by hand."""
    return max(config.request_slowlog_timeout, config.request_terminate_timeout, config.background_timeout) > 0.0


def complaint(trace: Trace) -> str:
    """Say what is wrong with a stack that was taken as a trial; "" if nothing is."""
    if trace.how == "faulthandler":
        return f"{trace.note}; processes write their stacks themselves instead"
    return f"no stacks can be taken: {trace.error}" if trace.error else ""


class Diagnosis:
    """Tries to take stacks, and remembers what is wrong with it."""

    def __init__(self, core: Core, take: Callable[[TraceTarget, TraceOptions, TraceDone], None]) -> None:
        """`take`: Stacks.take."""
        self._core = core
        self._take = take
        self._known: dict[ProcessKind, str] = {}
        """What is wrong; "" if nothing is, or nothing is known yet."""
        self._told = False
        self._waiting: deque[tuple[PoolConfig, TraceTarget]] = deque()
        self._under_way = 0
        self._timer: Timer | None = None

    @property
    def text(self) -> str:
        """What is wrong with tracing any kind of process, as clauses; "" if nothing is."""
        return "; ".join(dict.fromkeys(filter(None, self._known.values())))

    def examine(self, config: PoolConfig, template: TraceTarget) -> None:
        """Examine a template that is ready, soon: ask for its layout, so that it is known when the first stack is
        wanted, and try to take a stack, if it is not known whether that works."""
        if wants_stacks(config) and not template.is_responder:
            self._waiting.append((config, template))
            if self._timer is None:
                self._timer = self._core.loop.call_later(CALM, self._begin)

    def _begin(self) -> None:
        self._timer = None
        while self._waiting and self._under_way < AT_ONCE:
            config, template = self._waiting.popleft()
            if template.is_ready:
                self._ask(config, template)

    def _ask(self, config: PoolConfig, template: TraceTarget) -> None:
        kind = (*template.ids, config.python)
        is_new = kind not in self._known
        self._known.setdefault(kind, "")
        self._under_way += 1

        def answered(layout: Layout | str) -> None:
            self._under_way -= 1
            if self._waiting and self._timer is None:
                self._timer = self._core.loop.call_later(0.0, self._begin)
            if not template.is_ready:
                self._known.pop(kind, None)  # the next template shows it
            elif is_new and isinstance(layout, str):
                self._known[kind] = layout  # and the log has it
            elif is_new:
                self._try(template, kind, TRIES)

        template.request_layout(answered)

    def _try(self, template: TraceTarget, kind: ProcessKind, tries: int) -> None:
        def done(trace: Trace) -> None:
            wrong = complaint(trace)
            if trace.error == GONE or template.is_gone():
                self._known.pop(kind, None)
            elif wrong and tries > 1:
                self._core.loop.call_later(PAUSE, lambda: self._try(template, kind, tries - 1))
            else:
                self._tell(template.pool, kind, wrong)

        self._take(template, TraceOptions(1), done)

    def _tell(self, pool: str, kind: ProcessKind, wrong: str) -> None:
        self._known[kind] = wrong
        if wrong:
            self._core.emit(StacksUnavailable(wrong, pool=pool))
        elif not self._told:
            self._told = True
            self._core.emit(StacksAvailable())
