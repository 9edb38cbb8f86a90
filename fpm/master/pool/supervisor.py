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
from fpm.events.worker import SlowRequestEnded
from fpm.log.target import open_shared_log
from fpm.master.loop.read_budget import Share
from fpm.master.pool.child import Child
from fpm.master.pool.exits import Endings
from fpm.master.pool.header import PoolHeader
from fpm.master.pool.history import STOP, Record
from fpm.master.pool.proof import Proof, Verdict
from fpm.master.pool.recycling import Recycling
from fpm.master.pool.scaling import Staffing
from fpm.master.pool.shared_resources import Shared
from fpm.master.pool.specs import worker_settings
from fpm.master.pool.stack_capture import Done, StackTaking
from fpm.master.pool.template_events import TemplatesEvents
from fpm.master.pool.template_process import TemplateProcess, TemplateState
from fpm.master.pool.templates import Templates
from fpm.master.pool.timeouts import Overtime
from fpm.master.pool.workers import WorkerEvents, Workers
from fpm.master.processes.exits import Exit, Usage, parse_status
from fpm.master.services import Services
from fpm.master.slowlog.slow_log import SlowLog
from fpm.protocol.messages import Forked, ForkFailed, WorkerExited
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.snapshot import Slot
from fpm.stacks.text.entry import Reason
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
        self.stacks = StackTaking(services, config, self.slow_log)
        self.recycling = Recycling(self)
        self.workers = Workers(
            services,
            config,
            self.record.values,
            self.share,
            self.stacks,
            WorkerEvents(
                self._on_worker_ready,
                self._on_serving,
                self._on_worker_failed,
                self.recycling.limit_reached,
                self.recycling.is_large,
                self._on_worker_gone,
                self._on_slow,
                self._on_timed_out,
            ),
        )
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
                examine=lambda template, exit_, usage: self.endings.examine_template(template, exit_, usage),
                on_death=lambda death, next_, logged: self.endings.template_died(death, next_, logged),
                on_shared=self._on_shared,
                has_workers=self.has_workers,
                log=self.log,
            ),
        )
        self.header = PoolHeader(services, self.record, self.templates, self.workers)
        self.staffing = Staffing(services, config, listener, self.workers, self.templates, self.header.write, self.log)
        self.overtime = Overtime(services, config, self.workers, self.stacks, self.templates.every_shared)
        self.proof: Proof | None = None
        self.endings = Endings(self)
        self.failed_at = 0.0
        """Monotonic seconds of the last failure that workers have told of."""

    # ---------------------------------------------------------------- beginning, reload, end

    def start(self) -> None:
        """Begin to serve: with a template and first workers, or (ondemand) with a look at the listening socket.

        Raises:
            StartError: the access log or the slow log cannot be opened.
        """
        self._open_access_log(self.config.access_log)
        self.slow_log.use(self.config)
        if self.config.pm == "ondemand":
            self._settle()
        self.staffing.start()

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
        self.staffing.adjust()

    @property
    def unswapped(self) -> int:
        """Workers of former generations that still wait for a new one to take their place."""
        return sum(1 for child in self.workers.children if child.outgoing and child.leaving is None)

    @property
    def is_swapping(self) -> bool:
        """May a former generation, or the 503 responder, still take a request?"""
        beginning = any(child.beginning for child in self.workers.children)
        return not self.stopping and (beginning or self.unswapped > 0 or self.templates.has_responder)

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
        self.staffing.stop()
        # New clients are refused at once; those that wait in the queue would hang until the end.
        self.listener.close()
        self.abandon()
        self.templates.begin_stop()

    def quit_all(self, timeout: float) -> None:
        """Let requests in hand finish, then leave."""
        for child in list(self.workers.children):
            self.workers.retire(child, STOP, timeout)
        self.templates.dismiss_all(timeout)
        self._check_empty()

    def terminate_all(self, timeout: float) -> None:
        """SIGTERM now."""
        for child in list(self.workers.children):
            self.workers.terminate(child, STOP, timeout)
        self.templates.dismiss_all(timeout)
        self._check_empty()

    def take_stack(self, child: Child, reason: Reason, done: Done | None = None) -> None:
        """See StackTaking.take."""
        self.stacks.take(child, reason, done)

    def close(self) -> None:
        """Give all descriptors back, after the last process has gone; the socket file is removed."""
        self.overtime.close()
        self.staffing.stop()
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
        self.staffing.evaluate()

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
        self.staffing.replace_all()

    def _on_failed(self) -> None:
        for child in self.workers.children:
            if child.awaits_replacement:
                self.log(
                    "warning", f"child {child.pid} serves on past pm.{child.leaving}, there is nothing to replace it"
                )
                self.workers.serve(child)
        self.header.write()
        self._settle()
        self.staffing.start_over()

    def _on_shared(self, shared: Shared) -> None:
        self.staffing.fullness.set_scoreboard(shared.bell, shared.park[0].fileno())
        self.overtime.watch()
        self.header.write()

    def _on_template_gone(self, template: TemplateProcess) -> None:
        lost = self.workers.template_gone(template)
        if lost and not self.stopping:
            self.staffing.not_made(lost)
        self._check_empty()

    def _on_forked(self, template: TemplateProcess, message: Forked) -> None:
        self.workers.learn_pid(template, message.slot, message.pid)

    def _on_fork_failed(self, template: TemplateProcess, message: ForkFailed) -> None:
        self.log("error", f"the template cannot fork: {message.error}")
        for child in list(self.workers.children):
            if child.template is template and child.slot == message.slot and not child.claimed_pid:
                self.workers.bury(child, Exit(code=1))

    def _on_worker_exit(self, template: TemplateProcess, message: WorkerExited) -> None:
        child = self.workers.find(message.pid)
        if child is not None and child.template is template:
            child.usage = Usage(message.user, message.system, message.maxrss << 10)
            self.workers.bury(child, parse_status(message.status))

    def _take_config(self, config: PoolConfig) -> None:
        self.slow_log.change(config)
        self.config = self.workers.config = self.staffing.config = self.stacks.config = config
        self.overtime.take_config(config)
        self.record.take_config(config)
        self.header.write()

    # ---------------------------------------------------------------- what workers say

    def _on_worker_ready(self, child: Child) -> None:
        if child.held:
            if self.proof is not None:
                self.proof.worker_ready(child)
            return
        self.overtime.watch()
        self.log("debug" if self.settled else "notice", f"child {child.pid} started")
        failed = self.templates.failure is not None
        self.templates.forgive()
        if failed:
            self.header.write()
        self.staffing.worker_ready(child)
        if self.workers.census().starting == 0:
            self._settle()

    def _on_serving(self, child: Child) -> None:
        self.overtime.watch()
        if child.beginning:
            child.beginning = False
            self.templates.forgive()
        if not self.stopping:
            self.staffing.worker_ready(child)

    def _on_worker_failed(self, child: Child, error: str, traceback: str) -> None:
        """With preload = no: the import failed in the worker."""
        child.leaving = "import failed"
        if not child.held:
            self.fail(child, error, traceback)
        elif self.proof is not None:
            self.proof.fail(error, traceback)

    def fail(self, child: Child, error: str, traceback: str) -> None:
        """A worker cannot start: one failure for all that were made before it is noticed."""
        if child.started >= self.failed_at:
            self.failed_at = self.services.loop.now
            self.templates.fail(error, traceback)

    def _on_slow(self, child: Child, request: str, seconds: float) -> None:
        self.emit(SlowRequestEnded(request, seconds, pool=self.config.name, pid=child.pid))

    def _on_timed_out(self, child: Child) -> None:
        """Its place is free at once, however long it takes to end."""
        if self.stopping:
            return
        if self.config.pm == "ondemand":
            self.staffing.evaluate()
        else:
            self.staffing.replace_one()

    def _on_worker_gone(self, child: Child, exit_: Exit, slot: Slot) -> None:
        self.endings.worker_gone(child, exit_, slot)
        self._check_empty()

    def has_workers(self) -> bool:
        """Does a worker serve?"""
        return any(child.ready for child in self.workers.children)

    def _settle(self) -> None:
        if not self.settled:
            self.settled = True
            self.events.on_settled()

    def _check_empty(self) -> None:
        if self.templates.old_shared:
            self.templates.release_shared([child.board for child in self.workers.children])
        if self.stopping and self.is_empty:
            self.events.on_empty()
