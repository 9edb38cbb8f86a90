"""The start of a pool's application: its template, made when it is wanted, and again after failures, with pauses.

A pool whose application does not start has *failed*: the reason is kept for log and status, and clients get 503.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fpm.events.base import PoolEvent
from fpm.events.pool import PoolFailed, PoolRecovered
from fpm.log.lines import pool_prefix
from fpm.master.loop.loop import NamedTimers
from fpm.master.pool.current_config import CurrentConfig, still_exists
from fpm.master.pool.pool_state import PoolTrigger
from fpm.master.pool.responder import Responder
from fpm.master.pool.shared_resources import PoolResources
from fpm.master.pool.specs import slots_for
from fpm.master.pool.start_failures import Failure, StartFailures
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.template_state import TemplateAction, TemplateEvent, TemplateState
from fpm.master.pool.templates import TemplateEnd, Templates
from fpm.master.pool.trace_targets import TemplateTarget
from fpm.master.processes.backoff import YOUNG
from fpm.master.services import Services


class StarterOwner(Protocol):
    """The pool, as far as the start of its application needs it."""

    @property
    def is_stopping(self) -> bool:
        """Is no template wanted any more?"""

    def happen(self, trigger: PoolTrigger) -> None:
        """Change the pool's state."""

    def prepare(self) -> str:
        """Have the listening socket and the logs; returns why one cannot be had."""

    def make_workers(self) -> None:
        """The template can fork."""

    def start_failed(self) -> None:
        """The application does not start; the failure has been noted."""


class TemplateStarter:
    """Has the pool's template when it is wanted."""

    def __init__(
        self,
        services: Services,
        current: CurrentConfig,
        templates: Templates,
        resources: PoolResources,
        failures: StartFailures,
        responder: Responder,
        owner: StarterOwner,
        emit: Callable[[PoolEvent], None],
    ) -> None:
        self.templates = templates
        self.resources = resources
        self.failures = failures
        self.responder = responder
        self._services = services
        self._current = current
        self._owner = owner
        self._emit = emit
        self._timers = NamedTimers(services.loop)
        self._is_looking = False
        """Whether the pool's directory still answers."""
        templates.on_event[TemplateAction.TELL_READY] = self._on_ready
        templates.on_end[TemplateAction.FAIL_POOL] = self._on_failed
        templates.on_end[TemplateAction.RENEW] = self._on_lost

    def ready_template(self) -> TemplateProcess | None:
        """The present template if it can fork now; else it is started, if no pause is running, and None returned."""
        present = self.templates.present
        may_start = not self._is_looking and not self._owner.is_stopping
        if present is None and may_start and not self.failures.pause(self._services.loop.now):
            self._look_and_start()
        return present if present is not None and present.state.can_fork else None

    def retire(self) -> None:
        """End the present template: the pool is idle, or what it imports may have been mended."""
        present = self.templates.present
        if present is not None:
            self.templates.happen(present, TemplateEvent.RETIRE)
            self._owner.happen(PoolTrigger.TEMPLATE_RETIRED)

    def fail(self, error: str, traceback: str, *, logged: bool = False) -> None:
        """Note that there is no application: log why, answer clients 503, try again later.

        Args:
            logged: the traceback is in the log already.
        """
        now = self._services.loop.now
        error = error.removeprefix(pool_prefix(self._current.config.name))
        pause = self.failures.add(Failure(error, traceback, self._services.clock()), now)
        self._emit(PoolFailed(error, traceback, pause, logged, pool=self._current.config.name))
        self.responder.start()
        self._timers.set("retry", pause, self._retry)
        self._owner.happen(PoolTrigger.FAIL)
        self._owner.start_failed()

    def fail_soon(self, error: str) -> None:
        """Fail, but not within a call: the master may be about to begin other pools."""
        self._timers.set("retry", 0.0, lambda: self.fail(error, ""))

    def clear_failure(self) -> None:
        """A worker serves: no failure, no pause, no responder."""
        if self.failures.failure is not None:
            self._emit(PoolRecovered(pool=self._current.config.name))
        self.failures.clear()
        self.responder.retire()

    def new_generation(self) -> None:
        """Another generation has taken over: what has failed before says nothing of it."""
        self.failures.forget()
        self._timers.cancel("retry")

    def look_at_stacks(self) -> None:
        """Stacks may be wanted from now on: see whether they can be taken."""
        present = self.templates.present
        if present is not None and present.state.can_fork:
            self._services.stacks.template_ready(self._current.config, TemplateTarget(present, present.pid))

    def close(self) -> None:
        """Start nothing any more."""
        self._timers.cancel_all()
        self.responder.close()

    def _look_and_start(self) -> None:
        """Start a template; where links are followed anew, only when it is known that their directories answer."""
        given, resolved = self._current.config.chdir, self._current.resolved.chdir
        if given is None or (given == resolved and self.failures.failure is None):
            self._start()
            return
        self._is_looking = True
        self._services.paths.look(filter(None, [given, resolved]), self._on_looked)

    def _on_looked(self) -> None:
        self._is_looking = False
        if self.templates.present is None and not self._owner.is_stopping:
            self._start()

    def _start(self) -> None:
        missing = self._owner.prepare()
        if missing:
            self.fail(missing, "")
            return
        if self.failures.failure is not None or not still_exists(self._current.resolved):
            self._current.resolve_again()  # nothing of this generation runs, and the release may be mended
        self._current.begin()
        try:
            shared = self.resources.for_current(slots_for(self._current.config))
            generation = self._current.generation
            self.templates.start(self._current.resolved, shared, TemplateState.STARTING, generation)
            self._owner.happen(PoolTrigger.TEMPLATE_STARTED)
        except OSError as error:
            self.fail("cannot start a template", f"{error.strerror}")

    def _retry(self) -> None:
        if self.templates.present is None:
            self.ready_template()
        else:
            self._owner.make_workers()  # with preload = no the template is there, and only workers have failed

    # ---------------------------------------------------------------- what happens to the present template

    def _on_ready(self, template: TemplateProcess) -> None:
        self._services.stacks.template_ready(self._current.config, TemplateTarget(template, template.pid))
        if template.preload:
            self.failures.end_pause()
            if self._current.config.pm == "ondemand":
                # No worker is made that could show whether it works before somebody wants one.
                self.failures.failure = None
                self._owner.happen(PoolTrigger.RECOVER)
        self._owner.happen(PoolTrigger.TEMPLATE_READY)
        self._owner.make_workers()

    def _on_failed(self, template: TemplateProcess, end: TemplateEnd) -> str:
        self.fail(end.error, end.traceback, logged=end.is_logged)
        return f"the pool has failed, next try in {self.failures.pause(self._services.loop.now):.0f} s"

    def _on_lost(self, template: TemplateProcess, end: TemplateEnd) -> str:
        now = self._services.loop.now
        is_young = now - template.started < YOUNG
        pause = self.failures.add_death(now) if is_young else self.failures.pause(now)
        self._timers.set("retry", pause, self._retry)
        later = f" in {pause:.0f} s" if pause else ""
        if "pid" in template.spec.namespaces:
            return f"its workers end with it (namespaces = pid), and a new template is started{later}"
        return (
            f"its workers serve on and a new template is started{later} "
            "(the code that it imports may be newer than theirs)"
        )
