"""The 503 responder: answers on the listening socket of a pool that has failed, while it has no worker."""

from __future__ import annotations

from collections.abc import Callable

from fpm.events.base import PoolEvent
from fpm.events.pool import ResponderFailed
from fpm.master.loop.loop import NamedTimers
from fpm.master.pool.current_config import CurrentConfig
from fpm.master.pool.shared_resources import PoolResources
from fpm.master.pool.start_failures import StartFailures
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.template_state import TemplateAction, TemplateEvent, TemplateState
from fpm.master.pool.templates import TemplateEnd, Templates
from fpm.master.services import Services


class Responder:
    """Keeps at most one of them running."""

    def __init__(
        self,
        services: Services,
        current: CurrentConfig,
        templates: Templates,
        resources: PoolResources,
        failures: StartFailures,
        is_wanted: Callable[[], bool],
        emit: Callable[[PoolEvent], None],
    ) -> None:
        """`is_wanted`: does no worker serve, and may there be one?"""
        self._services = services
        self._current = current
        self._templates = templates
        self._resources = resources
        self._failures = failures
        self._is_wanted = is_wanted
        self._emit = emit
        self._timers = NamedTimers(services.loop)
        templates.on_end[TemplateAction.RENEW_RESPONDER] = self._on_end

    def start(self) -> None:
        """Answer 503, if no worker can answer."""
        if not self._is_wanted() or self._find() is not None:
            return
        try:
            shared, generation = self._resources.for_responder(), self._current.generation
            self._templates.start(self._current.config, shared, TemplateState.RESPONDER, generation)
        except OSError as error:
            self._emit(ResponderFailed(str(error.strerror), pool=self._current.config.name))

    def retire(self) -> None:
        """Let workers answer again."""
        responder = self._find()
        if responder is not None:
            self._templates.happen(responder, TemplateEvent.RETIRE)

    def close(self) -> None:
        """Start it no more."""
        self._timers.cancel_all()

    def _find(self) -> TemplateProcess | None:
        return next((one for one in self._templates.all() if one.state is TemplateState.RESPONDER), None)

    def _on_end(self, template: TemplateProcess, end: TemplateEnd) -> str:
        pause = self._failures.add_responder_death(self._services.loop.now)
        self._timers.set("start", pause, self._start_again)
        return f"started anew in {pause:.0f} s if there is no worker then"

    def _start_again(self) -> None:
        if self._failures.failure is not None:
            self.start()
