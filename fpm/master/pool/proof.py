"""The proof of a new generation of one pool: import, one worker, and the check if there is one.

The old generation serves on meanwhile. The worker of the proof accepts nothing until the whole reload is decided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fpm.config.model import PoolConfig
from fpm.master.pool.child import Child
from fpm.master.pool.health_check import start_check
from fpm.master.pool.templates import Templates
from fpm.master.pool.worker_state import WorkerEvent
from fpm.master.pool.workers import Workers
from fpm.master.processes.exits import Exit
from fpm.master.processes.helper_process import OneAnswer


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a proof has ended. `error` is empty if the generation is proved."""

    error: str = ""
    traceback: str = ""


class Proof:
    """One proof under way, or successful and waiting for the decision."""

    def __init__(
        self,
        workers: Workers,
        templates: Templates,
        config: PoolConfig,
        done: Callable[[Verdict], None],
        progress: Callable[[str], None],
    ) -> None:
        """
        Args:
            done: called once, never from within `start`'s caller's frame unless the start itself fails.
            progress: called with a few words at each step.
        """
        self.workers = workers
        self.templates = templates
        self.config = config
        self.child: Child | None = None
        self.ended = False
        self._done = done
        self._progress = progress
        self._checker: OneAnswer | None = None

    def start(self) -> None:
        """Begin with the template."""
        self._progress("importing")
        try:
            self.templates.begin_trial(self.config)
        except OSError as error:
            self.fail(f"cannot start a template: {error.strerror}")

    def template_ready(self) -> None:
        """It has imported the application (or, with preload = no, will let a worker do so)."""
        trial = self.templates.trial
        if trial is None or self.ended:
            return
        self._progress("starting a worker")
        self.child = self.workers.request_one(trial.template, trial.shared.board, on_trial=True)
        if self.child is None:
            self.fail("cannot ask the template for a worker")

    def worker_ready(self, child: Child) -> None:
        """The worker on trial could serve now."""
        if self.ended or child is not self.child:
            return
        check = self.config.reload_check
        if check is None:
            self._succeed()
            return
        self._progress(f"checking {check.method} {check.path}")
        try:
            self._checker = start_check(self.workers.services, check, child, self._checked)
        except OSError as error:
            self.fail(f"cannot run reload.check: {error.strerror}")

    def worker_gone(self, child: Child, exit_: Exit) -> None:
        """The worker on trial has ended before it was wanted."""
        if child is self.child:
            self.child = None
            check = self.config.reload_check if self._checker is not None else None
            during = f" during reload.check {check.method} {check.path}" if check else ""
            self.fail(f"its first worker exited {exit_}{during}", child.notes.last_words.text())

    def worker_failed(self, child: Child, error: str, traceback: str) -> None:
        """The worker on trial cannot start."""
        if child is self.child:
            self.fail(error, traceback)

    def fail(self, error: str, traceback: str = "") -> None:
        """The generation is no good: it goes, the old one stays."""
        if not self.ended:
            self.ended = True
            self._clear()
            self._done(Verdict(error, traceback))

    def commit(self) -> None:
        """All affected pools are proved: this generation takes over."""
        child, self.child = self.child, None
        if child is not None:
            self.workers.happen(child, WorkerEvent.SERVE)
        self.templates.accept_trial()

    def abandon(self) -> None:
        """Another pool has failed, or the master stops: this generation goes without having served."""
        self.ended = True
        self._clear()

    def _checked(self, wrong: str | None) -> None:
        self._checker = None
        if wrong is None:
            self._succeed()
        else:
            self.fail(wrong)

    def _succeed(self) -> None:
        if not self.ended:
            self.ended = True
            self._progress("checked")
            self._done(Verdict())

    def _clear(self) -> None:
        if self._checker is not None:
            self._checker.forget()
            self._checker = None
        if self.child is not None:
            child, self.child = self.child, None
            self.workers.retire(child, "reload abandoned")
        self.templates.drop_trial()
