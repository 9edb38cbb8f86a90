"""A pool supervisor: one pool's listener, templates and workers, from the listening socket to the last process.

Rules of the file. Nothing here waits. How many workers there should be is the staffing's business, how they come to be
the templates' (`staffing` and `templates` beside this module); here the two and the rest of the master meet.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from fpm.config.model import PoolConfig
from fpm.errors import StartError
from fpm.events.base import PoolEvent
from fpm.log.target import open_shared_log
from fpm.master.loop.read_budget import Share
from fpm.master.pool.exits import PoolExits
from fpm.master.pool.header import PoolHeader
from fpm.master.pool.history import STOP, Record
from fpm.master.pool.proof import Proof, Verdict
from fpm.master.pool.scaling import Scaler
from fpm.master.pool.shared_resources import Shared
from fpm.master.pool.specs import worker_settings
from fpm.master.pool.stack_capture import StackCapture
from fpm.master.pool.template_events import TemplatesEvents
from fpm.master.pool.template_process import TemplateProcess, TemplateState
from fpm.master.pool.templates import Templates
from fpm.master.pool.timeouts import RequestTimeouts
from fpm.master.pool.worker_reactions import WorkerReactions
from fpm.master.pool.worker_state import WorkerEvent, WorkerState
from fpm.master.pool.workers import Workers
from fpm.master.processes.exits import Usage, parse_status
from fpm.master.services import Services
from fpm.master.slowlog.slow_log import SlowLog
from fpm.protocol.messages import Forked, ForkFailed, WorkerExited
from fpm.scoreboard.memory import Scoreboard
from fpm.system.listening import Listener


@dataclass(frozen=True, slots=True)
class PoolEvents:
    """Whom a pool tells."""

    on_settled: Callable[[], None]
    """It serves for the first time, or has failed for the first time."""
    on_empty: Callable[[], None]
    """It is stopping and its last process has gone."""


class PoolSupervisor:
    """One pool."""

    def __init__(self, services: Services, config: PoolConfig, listener: Listener, events: PoolEvents) -> None:
        self.services = services
        self.config = config
        self.listener = listener
        self.events = events
        self.settled = False
        self.stopping = False
        self.record = Record(config, services.clock())
        self.share = Share()
        self.slow_log = SlowLog(services, services.slow_files, config.name)
        self.stacks = StackCapture(services, config, self.slow_log)
        self.workers = Workers(services, config, self.record, self.share, self.stacks, self.emit)
        self.templates = Templates(
            services,
            config,
            listener,
            self.share,
            self.stacks,
            TemplatesEvents(
                on_ready=self._on_template_ready,
                on_trial_ready=self._on_trial_ready,
                on_trial_failed=self._on_trial_failed,
                on_new_generation=self._on_new_generation,
                on_failed=self._on_failed,
                on_forked=self._on_forked,
                on_fork_failed=self._on_fork_failed,
                on_worker_exit=self._on_worker_exit,
                on_gone=self._on_template_gone,
                examine=lambda template, exit_, usage: self.exits.examine_template(template, exit_, usage),
                on_death=lambda death, next_, logged: self.exits.tell(death, next_, self.config, is_logged=logged),
                on_shared=self._on_shared,
                has_workers=lambda: self.workers.has_serving,
                log=self.log,
            ),
        )
        self.header = PoolHeader(services, self.record, self.templates, self.workers)
        self.scaler = Scaler(services, config, listener, self.workers, self.templates, self.header.write, self.emit)
        self.timeouts = RequestTimeouts(
            services, config, self.workers, self.stacks, self.templates.every_shared, self.emit
        )
        self.exits = PoolExits(services, config.name, self.emit)
        self.proof: Proof | None = None
        self.reactions = WorkerReactions(self)
        self.workers.actions |= self.reactions.actions()

    # ---------------------------------------------------------------- beginning, reload, end

    def start(self) -> None:
        """Begin to serve: with a template and first workers, or (ondemand) with a look at the listening socket.

        Raises:
            StartError: the access log or the slow log cannot be opened.
        """
        self._open_access_log(self.config.access_log)
        self.slow_log.use(self.config)
        if self.config.pm == "ondemand":
            self.settle()
        self.scaler.start()

    def prove(self, config: PoolConfig, done: Callable[[Verdict], None], progress: Callable[[str], None]) -> None:
        """Start a new generation beside the present one; `commit` or `abandon` decides what becomes of it."""
        self.abandon()
        self.proof = Proof(self.workers, self.templates, config, done, progress)
        self.proof.start()

    def commit(self) -> None:
        """The generation that has been proved takes over, worker by worker."""
        proof, self.proof = self.proof, None
        if proof is not None:
            proof.commit()

    def abandon(self) -> None:
        """The generation on trial goes, if there is one."""
        proof, self.proof = self.proof, None
        if proof is not None:
            proof.abandon()

    def renew(self, config: PoolConfig) -> None:
        """A new generation of a pool that has no process: the next template begins it."""
        self.templates.renew(config)
        self._follow_access_log(config)
        self._take_config(config)

    def apply(self, config: PoolConfig) -> None:
        """Numbers, paths and formats have changed: the running workers serve by them from now on.

        Raises:
            StartError: the new access log cannot be opened; nothing has changed then.
        """
        log_changed = config.access_log != self.config.access_log
        if log_changed:
            self._open_access_log(config.access_log)
        self.templates.take_numbers(config)
        self._take_config(config)
        board = self.board
        if board is not None:
            settings = worker_settings(config, log_limit=self.services.settings.log_limit, slots=board.slots)
            self.workers.apply(settings, log_changed=log_changed)
            self.templates.apply(settings)
        self.scaler.adjust()

    @property
    def unswapped(self) -> int:
        """Workers of former generations that still wait for a new one to take their place."""
        return sum(1 for child in self.workers.children if child.state is WorkerState.SUPERSEDED)

    @property
    def is_swapping(self) -> bool:
        """May a former generation, or the 503 responder, still take a request?"""
        activating = any(child.state is WorkerState.ACTIVATING for child in self.workers.children)
        return not self.stopping and (activating or self.unswapped > 0 or self.templates.has_responder)

    def _open_access_log(self, path: str | None) -> None:
        fd = None if path is None else open_shared_log(path, "access.log")
        former, self.workers.access_log = self.workers.access_log, fd
        if former is not None:
            os.close(former)

    def _follow_access_log(self, config: PoolConfig) -> bool:
        """A new generation may log to another file; is it open now?"""
        if config.access_log == self.config.access_log:
            return False
        try:
            self._open_access_log(config.access_log)
        except StartError as error:
            self.log("error", f"{error}; the former file stays in use")
            return False
        return True

    def reopen_logs(self) -> None:
        """Open the logs anew and hand the access log to the workers (SIGUSR1)."""
        self.slow_log.reopen(self.config)
        if self.config.access_log is None:
            return
        try:
            fd = open_shared_log(self.config.access_log, "access.log")
        except StartError as error:
            self.log("error", f"{error}; the former file stays in use")
            return
        former, self.workers.access_log = self.workers.access_log, fd
        self.workers.reopen_logs()
        if former is not None:
            os.close(former)
        self.log("notice", "access log file re-opened")

    def begin_stop(self) -> None:
        """Accept nothing and make nothing any more; workers are told separately."""
        self.stopping = True
        self.scaler.stop()
        # New clients are refused at once; those that wait in the queue would hang until the end.
        self.listener.close()
        self.abandon()
        self.templates.begin_stop()

    def quit_all(self, timeout: float) -> None:
        """Let requests in hand finish, then leave."""
        for child in list(self.workers.children):
            self.workers.retire(child, STOP, timeout)
        self.templates.dismiss_all(timeout)
        self.check_empty()

    def terminate_all(self, timeout: float) -> None:
        """SIGTERM now."""
        for child in list(self.workers.children):
            self.workers.happen(child, WorkerEvent.TERMINATE, reason=STOP, timeout=timeout)
        self.templates.dismiss_all(timeout)
        self.check_empty()

    def close(self) -> None:
        """Give all descriptors back, after the last process has gone; the socket file is removed."""
        self.timeouts.close()
        self.scaler.stop()
        self.listener.close()
        for child in self.workers.children:
            child.close()
        self.templates.close()
        self.slow_log.close()
        if self.workers.access_log is not None:
            os.close(self.workers.access_log)
            self.workers.access_log = None

    @property
    def is_empty(self) -> bool:
        """Has every process gone?"""
        return not self.workers.children and not self.templates.all()

    @property
    def board(self) -> Scoreboard | None:
        """The present scoreboard; None while the pool has never had a process."""
        return self.header.board

    @property
    def state(self) -> str:
        """One word for the status: failed, stopping, starting, running or idle (no process)."""
        present = self.templates.present
        if self.templates.failure is not None:
            return "failed"
        if self.stopping:
            return "stopping"
        if present is not None and present.state is TemplateState.STARTING and not self.workers.children:
            return "starting"
        return "running" if self.workers.children else "idle"

    def log(self, level: str, text: str) -> None:
        """An entry about this pool."""
        self.services.log.log(level, f"[pool {self.config.name}] {text}")

    def emit(self, event: PoolEvent) -> None:
        """Something has happened in this pool."""
        self.record.take(self.services.emit(event))

    # ---------------------------------------------------------------- what templates say

    def _on_template_ready(self) -> None:
        if self.config.pm == "ondemand":
            self.templates.stop_responder()
        self.scaler.evaluate()

    def _on_trial_ready(self) -> None:
        if self.proof is not None:
            self.proof.template_ready()

    def _on_trial_failed(self, error: str, traceback: str) -> None:
        if self.proof is not None:
            self.proof.fail(error, traceback)

    def _on_new_generation(self, config: PoolConfig) -> None:
        """The new template is ready: its workers take over one by one."""
        log_changed = self._follow_access_log(config)
        self._take_config(config)
        board = self.board
        if log_changed and board is not None:
            # Those that proved the generation were forked with the former log.
            settings = worker_settings(config, log_limit=self.services.settings.log_limit, slots=board.slots)
            self.workers.apply(settings, log_changed=True, template=self.templates.present)
        self.scaler.replace_all()

    def _on_failed(self) -> None:
        self.reactions.serve_on()
        self.header.write()
        self.settle()
        self.scaler.start_over()

    def _on_shared(self, shared: Shared) -> None:
        self.scaler.turns.saturation.set_scoreboard(shared.wakeup, shared.park[0].fileno())
        self.timeouts.watch()
        self.header.write()

    def _on_template_gone(self, template: TemplateProcess) -> None:
        self.workers.template_gone(template)
        self.check_empty()

    def _on_forked(self, template: TemplateProcess, message: Forked) -> None:
        self.workers.forked(template, message.slot, message.pid)

    def _on_fork_failed(self, template: TemplateProcess, message: ForkFailed) -> None:
        self.log("error", f"the template cannot fork: {message.error}")
        self.workers.fork_failed(template, message.slot)

    def _on_worker_exit(self, template: TemplateProcess, message: WorkerExited) -> None:
        child = self.workers.find(message.pid, reported=True)
        if child is not None and child.template is template:
            usage = Usage(message.user, message.system, message.maxrss << 10)
            self.workers.exited(child, parse_status(message.status), usage)

    def _take_config(self, config: PoolConfig) -> None:
        self.slow_log.change(config)
        self.config = self.scaler.config = self.stacks.config = config
        self.workers.take_config(config)
        self.timeouts.take_config(config)
        self.record.take_config(config)
        self.header.write()

    def settle(self) -> None:
        """Tell once that it serves, or has failed."""
        if not self.settled:
            self.settled = True
            self.events.on_settled()

    def check_empty(self) -> None:
        """Give back what only former generations have used; tell when a stopping pool has no process left."""
        if self.templates.old_shared:
            self.templates.release_shared([child.board for child in self.workers.children])
        if self.stopping and self.is_empty:
            self.events.on_empty()
