"""How templates are ended: those that do not start in time, and those that do not leave. None without a word.

A template that leaves as it is told is no business of this module. One that does not, though its last worker has gone,
is killed after process_control_timeout and EXIT_TIME: it would keep its memory and the master's descriptors for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal
from weakref import WeakSet

from fpm.events.base import PoolEvent
from fpm.events.pool import TemplateKilled
from fpm.master.loop.loop import NamedTimers
from fpm.master.pool.stack_capture import StackCapture, explain
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.template_state import TemplateEvent, TemplateState
from fpm.master.services import Services
from fpm.stacks.trace import Trace

LAST_LOOK = 1.0
"""Seconds after the time of the last worker, and about as long before the process groups are killed, in which the stack
of a template that is still there is taken."""

EXIT_TIME = 5.0
"""Seconds beyond process_control_timeout in which a template without workers must have left."""

Reason = Literal["reload", "stop", "upgrade", "late"]
_REASONS: dict[TemplateEvent, Reason] = {
    TemplateEvent.ABANDON: "reload",
    TemplateEvent.RETIRE: "reload",
    TemplateEvent.STOP: "stop",
    TemplateEvent.UPGRADED: "upgrade",
}
"""Why a template is killed that imports the application, and so listens to nobody; else it has not exited in time."""


class TemplateTermination:
    """Explains the ends of one pool's templates, and the reasons for them."""

    def __init__(self, services: Services, pool: str, stacks: StackCapture, emit: Callable[[PoolEvent], None]) -> None:
        self._services = services
        self._pool = pool
        self._stacks = stacks
        self._emit = emit
        self._timers = NamedTimers(services.loop)
        self._traces: dict[int, Trace] = {}
        self._said: WeakSet[TemplateProcess] = WeakSet()

    def explain_start(self, template: TemplateProcess) -> None:
        """Give up a template that has not imported the application in time, when its stack has come."""
        seconds = template.config.startup_timeout
        error = f"the application was not imported within {seconds:g} s (startup_timeout)"

        def give_up(stack: str) -> None:
            template.give_up(TemplateEvent.GIVE_UP, error + stack)

        if template.last_words.has_dump:
            give_up("; its stack is in its last output")
        else:
            self._stacks.take_of_template(template, "startup", lambda trace: give_up(explain(trace)))

    def say_killed(self, template: TemplateProcess, event: TemplateEvent) -> None:
        """Log why a template is killed, once."""
        if not template.pid or template in self._said:
            return
        self._said.add(template)
        reason, age = _REASONS.get(event, "late"), self._services.loop.now - template.started
        no_stack = "" if reason != "late" else explain(self._traces.get(template.pid)).removeprefix("; ")
        self._emit(TemplateKilled(reason, age, no_stack, pool=self._pool, pid=template.pid))

    def watch_stop(self, templates: Iterable[TemplateProcess], timeout: float) -> None:
        """Take the stacks of those that are still there when it is nearly time to kill them.

        Args:
            timeout: seconds until the workers are gone.
        """
        left = list(templates)
        self._timers.set("last look", timeout + LAST_LOOK, lambda: self._last_look(left))

    def await_exit(self, template: TemplateProcess) -> None:
        """Kill a template that has been told to leave and has no worker, if it is still there when its time is over."""

        def look() -> None:
            if template.state.is_told_to_leave:
                self._stacks.take_of_template(template, "stop", kill)

        def kill(trace: Trace) -> None:
            if template.state.is_told_to_leave:
                self._remember(trace)
                template.give_up(TemplateEvent.KILL, "it has not exited in time")

        name = f"exit of {template.pid}"
        if name not in self._timers:
            self._timers.set(name, self._services.settings.process_control_timeout + EXIT_TIME, look)

    def close(self) -> None:
        """Look no more."""
        self._timers.cancel_all()

    def _last_look(self, templates: Iterable[TemplateProcess]) -> None:
        for template in templates:
            if template.state not in (TemplateState.GONE, TemplateState.KILLED):
                self._stacks.take_of_template(template, "stop", self._remember)

    def _remember(self, trace: Trace) -> None:
        self._traces[trace.pid] = trace
