"""The check of a new generation of one pool: its import, one worker, and `reload.check` if there is one.

The old generation serves on meanwhile. The worker on trial accepts nothing until the whole reload is decided.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from fpm.config.model import PoolConfig
from fpm.frozen import dataclass
from fpm.master.pool.child import Child
from fpm.master.pool.current_config import CurrentConfig
from fpm.master.pool.health_check import start_check
from fpm.master.pool.release import Release
from fpm.master.pool.shared_resources import PoolResources, SharedResources
from fpm.master.pool.specs import slots_for
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.template_state import TemplateEvent, TemplateState
from fpm.master.pool.templates import TemplateEnd, Templates
from fpm.master.pool.worker_state import WorkerEvent
from fpm.master.pool.workers import Workers
from fpm.master.processes.exits import Exit
from fpm.master.processes.helper_process import OneAnswer


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a check has ended. `error` is empty if the generation works."""

    error: str = ""
    traceback: str = ""


class Step(Enum):
    """How far a check has come."""

    IMPORTING = "importing"
    WORKER = "starting a worker"
    CHECK = "checking"
    PASSED = "checked"
    OVER = "over"


class Trial:
    """One check under way, or passed and waiting for the decision."""

    def __init__(
        self,
        workers: Workers,
        templates: Templates,
        resources: PoolResources,
        config: PoolConfig,
        release: Release,
        done: Callable[[Verdict], None],
        progress: Callable[[str], None],
    ) -> None:
        """
        Args:
            done: told the verdict; once more if a generation that has passed fails before it is accepted.
            progress: called with a few words at each step.
        """
        self.config = config
        self.release = release
        self.step = Step.IMPORTING
        self.template: TemplateProcess | None = None
        self.shared: SharedResources | None = None
        """Not the present generation's if that scoreboard is too small."""
        self._workers = workers
        self._templates = templates
        self._resources = resources
        self._child: Child | None = None
        self._check: OneAnswer | None = None
        self._done = done
        self._progress = progress

    def start(self, current: CurrentConfig) -> None:
        """Begin with the template."""
        self._progress(self.step.value)
        generation = current.next_generation()
        try:
            self.shared = self._resources.for_trial(slots_for(self.config))
            self.template = self._templates.start(
                self.release.config, self.shared, TemplateState.TRIAL_STARTING, generation
            )
        except OSError as error:
            self.fail(f"cannot start a template: {error.strerror}")

    def template_ready(self) -> None:
        """Ask for a worker: the application is imported (or, with preload = no, will be by the worker)."""
        if self.step is not Step.IMPORTING or self.template is None or self.shared is None:
            return
        self._enter(Step.WORKER)
        self._child = self._workers.request_one(self.template, self.shared.board, on_trial=True)
        if self._child is None:
            self.fail("cannot ask the template for a worker")

    def template_ended(self, end: TemplateEnd) -> None:
        """Fail, for the template has ended."""
        self.template = None
        self.fail(end.error, end.traceback)

    def worker_ready(self, child: Child) -> None:
        """Check the worker on trial, which could serve now."""
        if self.step is not Step.WORKER or child is not self._child:
            return
        check = self.config.reload_check
        if check is None:
            self._pass()
            return
        self._enter(Step.CHECK, f"checking {check.method} {check.path}")
        try:
            self._check = start_check(self._workers.services, check, child, self._checked)
        except OSError as error:
            self.fail(f"cannot run reload.check: {error.strerror}")

    def worker_gone(self, child: Child, exit_: Exit) -> None:
        """Fail, for the worker on trial has ended."""
        if child is self._child:
            self._child = None
            check = self.config.reload_check if self.step is Step.CHECK else None
            during = f" during reload.check {check.method} {check.path}" if check else ""
            end = f"its first worker exited {exit_}{during}"
            if child.notes.fork_error:
                end = f"its template cannot fork: {child.notes.fork_error}"
            self.fail(end, child.notes.last_words.text())

    def worker_failed(self, child: Child, error: str, traceback: str) -> None:
        """Fail, for the worker on trial cannot start."""
        if child is self._child:
            self.fail(error, traceback)

    def fail(self, error: str, traceback: str = "") -> None:
        """End a generation that does not work; the old one stays."""
        if self.step is not Step.OVER:
            self.abandon()
            self._done(Verdict(error, traceback))

    def accept(self) -> tuple[TemplateProcess, SharedResources] | None:
        """Let its worker serve, and hand over its template; None if it has not passed."""
        if self.step is not Step.PASSED or self.template is None or self.shared is None:
            return None
        self.step = Step.OVER
        if self._child is not None:
            self._workers.happen(self._child, WorkerEvent.SERVE)
        return self.template, self.shared

    def abandon(self) -> None:
        """End a generation that has not served: it has failed, another pool has, or the master stops."""
        self.step = Step.OVER
        if self._check is not None:
            self._check.forget()
            self._check = None
        if self._child is not None:
            child, self._child = self._child, None
            self._workers.retire(child, "reload abandoned")
        if self.template is not None:
            self._templates.happen(self.template, TemplateEvent.ABANDON)

    def _enter(self, step: Step, text: str = "") -> None:
        self.step = step
        self._progress(text or step.value)

    def _checked(self, wrong: str | None) -> None:
        self._check = None
        if wrong is None:
            self._pass()
        else:
            self.fail(wrong)

    def _pass(self) -> None:
        self._enter(Step.PASSED)
        self._done(Verdict())
