"""How templates are ended: those that do not start in time, and those that do not leave. None without a word.

A template that leaves as it is told is no business of this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from weakref import WeakSet

from fpm.master.loop.timers import NamedTimers
from fpm.master.pool.stack_capture import StackCapture, explain
from fpm.master.pool.template_process import TemplateProcess, TemplateState
from fpm.master.services import Services
from fpm.stacks.trace import Trace

LAST_LOOK = 1.0
"""Seconds after the time of the last worker, and about as long before the process groups are killed, in which the stack
of a template that is still there is taken."""


class TemplateDismissal:
    """Of the templates of one pool."""

    def __init__(self, services: Services, stacks: StackCapture, log: Callable[[str, str], None]) -> None:
        self._services = services
        self._stacks = stacks
        self._log = log
        self._timers = NamedTimers(services.loop)
        self._traces: dict[int, Trace] = {}
        self._said: WeakSet[TemplateProcess] = WeakSet()

    def startup_timeout(self, template: TemplateProcess) -> None:
        """It has not imported the application in time: it is killed when its stack has come."""

        def came(trace: Trace) -> None:
            if template.state is not TemplateState.STARTING or template.failure is not None:
                return
            fail(explain(trace))

        def fail(stack: str) -> None:
            seconds = template.config.startup_timeout
            template.failure = (f"the application was not imported within {seconds:g} s (startup_timeout){stack}", "")
            template.kill()

        if template.last_words.has_dump:
            fail("; its stack is among its last words")
        else:
            self._stacks.take_of_template(template, "startup", came)

    def give_up(self, template: TemplateProcess) -> None:
        """Its generation is not wanted any more, and it still imports the application: it goes at once."""
        age = self._services.loop.now - template.started
        self._kill(template, "notice", f"is killed after {age:.1f} s of importing: its generation is given up")

    def stop(self, templates: Iterable[TemplateProcess], timeout: float) -> None:
        """The pool ends: they leave when their last worker has left.

        Args:
            timeout: seconds until the workers are gone.
        """
        left = list(templates)
        for template in left:
            if template.state is TemplateState.STARTING and template.spec.mode == "template":
                # It is importing, and listens to nobody.
                self._kill(template, "notice", "is killed while it imports the application (stop)")
            else:
                template.quit()
        self._timers.set("last look", timeout + LAST_LOOK, lambda: self._last_look(left))

    def kill_all(self, templates: Iterable[TemplateProcess]) -> None:
        """SIGKILL to their process groups."""
        for template in templates:
            text = "has not left in time (stop), sending SIGKILL to it and to all that it has made"
            self._kill(template, "warning", text + explain(self._traces.get(template.pid)))

    def close(self) -> None:
        """No more looks."""
        self._timers.cancel_all()

    def _last_look(self, templates: Iterable[TemplateProcess]) -> None:
        for template in templates:
            if template.state is not TemplateState.GONE and template not in self._said:
                self._stacks.take_of_template(template, "stop", self._remember)

    def _remember(self, trace: Trace) -> None:
        self._traces[trace.pid] = trace

    def _kill(self, template: TemplateProcess, level: str, text: str) -> None:
        if template.pid and template not in self._said:
            self._said.add(template)
            self._log(level, f"template {template.pid} {text}")
        template.kill()
