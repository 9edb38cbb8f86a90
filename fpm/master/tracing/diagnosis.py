"""Whether stacks can be taken here, found out by taking one, of each kind of process that a daemon has.

Rules of the file. Only pools that want stacks are looked at, once for each user and interpreter, when a template is
ready; nobody waits for it. A machine under load is not mistaken for one that forbids it: failures are tried again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from fpm.config.model import PoolConfig
from fpm.events.master import StacksAvailable
from fpm.events.pool import StacksUnavailable
from fpm.master.core import Core
from fpm.master.loop.loop import Timer
from fpm.master.tracing.self_dump_parse import GONE
from fpm.master.tracing.trace_target import Subject, TracedTemplate, Wish
from fpm.stacks.layout import Layout
from fpm.stacks.trace import Trace

CALM = 0.5
"""Seconds after a template is ready: first come its workers."""
AT_ONCE = 2
"""Templates that measure their interpreters at the same time: each takes a tenth of a second of CPU time."""
TRIES = 3
PAUSE = 1.0
"""Seconds between two tries."""

Kind = tuple[int, int, str]
"""uid, gid and interpreter: what decides."""


def wants_stacks(config: PoolConfig) -> bool:
    """Is there a limit after which a stack is taken unasked?"""
    return max(config.request_slowlog_timeout, config.request_terminate_timeout, config.background_timeout) > 0.0


def complaint(trace: Trace) -> str:
    """What to tell of a stack that was taken to see whether it works; "" if it does."""
    if trace.how == "faulthandler":
        return f"{trace.note}; processes write their stacks themselves instead"
    return f"no stacks can be taken: {trace.error}" if trace.error else ""


class Diagnosis:
    """What has been found out."""

    def __init__(self, core: Core, take: Callable[[Subject, Wish, Callable[[Trace], None]], None]) -> None:
        """`take`: see Stacks.take."""
        self._core = core
        self._take = take
        self._known: dict[Kind, str] = {}
        """What is wrong; "" if nothing is, or nothing is known yet."""
        self._told = False
        self._waiting: deque[tuple[PoolConfig, TracedTemplate]] = deque()
        self._under_way = 0
        self._timer: Timer | None = None

    @property
    def text(self) -> str:
        """What is wrong with any of them, as clauses; "" if nothing is."""
        return "; ".join(dict.fromkeys(filter(None, self._known.values())))

    def look(self, config: PoolConfig, template: TracedTemplate) -> None:
        """A template of this pool is ready. Soon its interpreter's layout is asked for, so that it is known when the
        first stack is wanted, and it is seen whether a stack can be taken, if that is not known already."""
        if wants_stacks(config) and template.spec.mode == "template":
            self._waiting.append((config, template))
            if self._timer is None:
                self._timer = self._core.loop.call_later(CALM, self._begin)

    def _begin(self) -> None:
        self._timer = None
        while self._waiting and self._under_way < AT_ONCE:
            config, template = self._waiting.popleft()
            if template.state.has_started:
                self._ask(config, template)

    def _ask(self, config: PoolConfig, template: TracedTemplate) -> None:
        kind = (*Subject(config.name, template.pid, template, None).ids, config.python)
        is_new = kind not in self._known
        self._known.setdefault(kind, "")
        self._under_way += 1

        def answered(layout: Layout | str) -> None:
            self._under_way -= 1
            if self._waiting and self._timer is None:
                self._timer = self._core.loop.call_later(0.0, self._begin)
            if not template.state.has_started:
                self._known.pop(kind, None)  # the next template shows it
            elif is_new and isinstance(layout, str):
                self._known[kind] = layout  # and the log has it
            elif is_new:
                self._try(config.name, template, kind, TRIES)

        template.want_layout(answered)

    def _try(self, pool: str, template: TracedTemplate, kind: Kind, tries: int) -> None:
        def done(trace: Trace) -> None:
            wrong = complaint(trace)
            if trace.error == GONE or template.state.is_gone:
                self._known.pop(kind, None)
            elif wrong and tries > 1:
                self._core.loop.call_later(PAUSE, lambda: self._try(pool, template, kind, tries - 1))
            else:
                self._tell(pool, kind, wrong)

        self._take(Subject(pool, template.pid, template, None), Wish(1), done)

    def _tell(self, pool: str, kind: Kind, wrong: str) -> None:
        self._known[kind] = wrong
        if wrong:
            self._core.emit(StacksUnavailable(wrong, pool=pool))
        elif not self._told:
            self._told = True
            self._core.emit(StacksAvailable())
