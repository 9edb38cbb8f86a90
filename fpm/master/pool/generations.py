"""How one generation of a pool follows another: checked beside it, then swapped, worker by worker; or changed live."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fpm.config.model import PoolConfig
from fpm.errors import StartError
from fpm.events.base import PoolEvent
from fpm.events.pool import AccessLogFailed, EmergencyRestartFailed
from fpm.master.pool.access_log import AccessLog
from fpm.master.pool.current_config import CurrentConfig, resolve_release
from fpm.master.pool.pool_state import PoolTrigger
from fpm.master.pool.release import Release
from fpm.master.pool.scaling import Scaler
from fpm.master.pool.specs import worker_settings
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.template_starter import TemplateStarter
from fpm.master.pool.template_state import TemplateAction, TemplateEvent
from fpm.master.pool.templates import TemplateEnd, Templates
from fpm.master.pool.trace_targets import TemplateTarget
from fpm.master.pool.trial import Trial, Verdict
from fpm.master.pool.worker_state import WorkerState
from fpm.master.pool.workers import Workers
from fpm.master.processes.path_looks import paths_of
from fpm.master.services import Services
from fpm.status.death_text import NOT_STARTED


class GenerationsOwner(Protocol):
    """The pool, as far as a change of generations concerns it."""

    def happen(self, trigger: PoolTrigger) -> None:
        """Change the pool's state."""

    def config_changed(self) -> None:
        """Another configuration is in force."""

    def prepare(self) -> str:
        """Have the listening socket and the logs; returns why one cannot be had."""

    def emit(self, event: PoolEvent) -> None:
        """Something has happened in this pool."""


class Generations:
    """Changes the generation of one pool, or its numbers."""

    def __init__(
        self,
        services: Services,
        current: CurrentConfig,
        workers: Workers,
        templates: Templates,
        starter: TemplateStarter,
        scaler: Scaler,
        access_log: AccessLog,
        owner: GenerationsOwner,
    ) -> None:
        self.trial: Trial | None = None
        self._restarted: Trial | None = None
        """The last that no reload has wanted."""
        self._services = services
        self._current = current
        self._workers = workers
        self._templates = templates
        self._starter = starter
        self._scaler = scaler
        self._access_log = access_log
        self._owner = owner
        templates.on_event[TemplateAction.TELL_TRIAL_READY] = self._on_template_ready
        templates.on_end[TemplateAction.FAIL_TRIAL] = self._on_template_ended

    def check(
        self, config: PoolConfig, release: Release, done: Callable[[Verdict], None], progress: Callable[[str], None]
    ) -> None:
        """Start a new generation beside the present one; `commit` or `abandon` decides what becomes of it."""
        if self.trial is not None:
            self.trial.fail("a reload has begun")  # else whoever waits for its verdict would wait for ever
        self.abandon()
        missing = self._owner.prepare() or self._services.cgroups.prepare(config)
        if missing:
            done(Verdict(missing))
            return
        self.trial = Trial(self._workers, self._templates, self._starter.resources, config, release, done, progress)
        self.trial.start(self._current)

    def commit(self) -> None:
        """Let the generation that has been checked take over, worker by worker."""
        trial, self.trial = self.trial, None
        accepted = trial.accept() if trial is not None else None
        if trial is None or accepted is None:
            return
        template, shared = accepted
        former = self._templates.present
        if former is not None:
            self._templates.happen(former, TemplateEvent.RETIRE)
        self._templates.happen(template, TemplateEvent.ACCEPT)
        self._current.new_generation(trial.config, trial.release, template.generation)
        self._starter.resources.take(shared)
        self._starter.new_generation()
        self._owner.happen(PoolTrigger.RECOVER)
        self._owner.happen(PoolTrigger.WORKERS_ASKED)
        log_changed = self._follow_access_log()
        self._owner.config_changed()
        if log_changed:
            # Those that were checked were forked with the former log.
            self._tell_workers(log_changed=True, template=template)
        self._scaler.replace_all()

    def abandon(self) -> None:
        """End the generation that is checked, if there is one."""
        trial, self.trial = self.trial, None
        if trial is not None:
            trial.abandon()

    def renew(self, config: PoolConfig, release: Release) -> None:
        """Begin a new generation of a pool that has no process: its next template finds this release."""
        self._current.new_generation(config, release, self._current.next_generation())
        self._starter.new_generation()
        self._owner.happen(PoolTrigger.RECOVER)
        self._follow_access_log()
        self._owner.config_changed()

    def apply_live(self, config: PoolConfig) -> None:
        """Have the running workers serve by other numbers, paths and formats.

        Raises:
            StartError: the new access log cannot be opened; nothing has changed then.
        """
        log_changed = self._access_log.follow(config)
        self._current.apply_live(config)
        self._owner.config_changed()
        self._starter.look_at_stacks()
        self._tell_workers(log_changed=log_changed)
        self._scaler.adjust()

    def restart(self, done: Callable[[bool], None] = lambda ok: None) -> None:
        """Begin a new generation of the same configuration at once, which needs nobody else's success.

        Args:
            done: told whether it has taken over.
        """

        def decide(verdict: Verdict) -> None:
            if verdict.error:
                self._owner.emit(EmergencyRestartFailed(verdict.error, pool=self._current.config.name))
                self.abandon()
            else:
                self.commit()
            done(not verdict.error)

        def begin() -> None:
            if self.trial is not None and self.trial is not self._restarted:
                done(False)  # a reload has begun while the paths were looked at
                return
            self.abandon()
            config = self._current.config
            self.check(config, resolve_release(config), decide, lambda step: None)
            self._restarted = self.trial

        self._services.paths.look(paths_of([self._current.config]), begin)

    @property
    def has_processes(self) -> bool:
        """Has the pool a template or a worker, which hold what it shares with them?"""
        return bool(self._workers.children or self._templates.all())

    @property
    def unswapped(self) -> int:
        """Workers of former generations that still wait for a new one to take their place."""
        return sum(1 for child in self._workers.children if child.state is WorkerState.SUPERSEDED)

    @property
    def is_swapping(self) -> bool:
        """May a former generation, or the 503 responder, still take a request?"""
        activating = any(child.state is WorkerState.ACTIVATING for child in self._workers.children)
        return activating or self.unswapped > 0 or self._templates.has_responder

    def _tell_workers(self, *, log_changed: bool, template: TemplateProcess | None = None) -> None:
        """Send the settings in force to the workers, of all templates or of one, and to those who fork."""
        board = self._starter.resources.board
        if board is None:
            return
        limit = self._services.settings.log_limit
        settings = worker_settings(self._current.config, log_limit=limit, slots=board.slots)
        self._workers.apply(settings, log_changed=log_changed, template=template)
        if template is None:
            self._templates.apply(settings)

    def _follow_access_log(self) -> bool:
        try:
            return self._access_log.follow(self._current.config)
        except StartError as error:
            self._owner.emit(AccessLogFailed(str(error), pool=self._current.config.name))
            return False

    def _on_template_ready(self, template: TemplateProcess) -> None:
        self._services.stacks.template_ready(self._current.config, TemplateTarget(template, template.pid))
        if self.trial is not None:
            self.trial.template_ready()

    def _on_template_ended(self, template: TemplateProcess, end: TemplateEnd) -> str:
        if self.trial is not None:
            self.trial.template_ended(end)
        return NOT_STARTED
