"""A pool supervisor: one pool's listener, templates and workers, from the listening socket to the last process.

Rules of the file. Nothing here waits. How many workers there should be is the scaler's business, how they come to be
the templates', how a generation follows another the generations'; here they are put together and meet the master.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fpm.config.model import PoolConfig
from fpm.errors import StartError
from fpm.events.base import PoolEvent
from fpm.events.pool import PoolChangeFailed
from fpm.master.listening.inherited import InheritedFds, dump_listener
from fpm.master.loop.fair_reader import Share
from fpm.master.pool.access_log import AccessLog
from fpm.master.pool.current_config import CurrentConfig
from fpm.master.pool.exits import PoolExits
from fpm.master.pool.generations import Generations
from fpm.master.pool.header import PoolHeader
from fpm.master.pool.history import STOP, Record
from fpm.master.pool.memory_watch import MemoryWatch
from fpm.master.pool.pool_callbacks import PoolCallbacks
from fpm.master.pool.pool_state import POOL_TABLE, PoolAction, PoolState, PoolTrigger
from fpm.master.pool.responder import Responder
from fpm.master.pool.scaling import Scaler
from fpm.master.pool.shared_resources import PoolResources, SharedResources
from fpm.master.pool.socket_guard import SocketGuard
from fpm.master.pool.stack_capture import StackCapture
from fpm.master.pool.start_failures import StartFailures
from fpm.master.pool.template_factory import TemplateFactory
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.template_starter import TemplateStarter
from fpm.master.pool.template_state import TemplateState
from fpm.master.pool.template_termination import TemplateTermination
from fpm.master.pool.templates import Templates
from fpm.master.pool.timeouts import RequestTimeouts
from fpm.master.pool.worker_reactions import WorkerReactions
from fpm.master.pool.worker_state import WorkerEvent
from fpm.master.pool.workers import Workers
from fpm.master.services import Services
from fpm.master.slowlog.slow_log import SlowLog
from fpm.system.listening import Listener


class PoolSupervisor:
    """One pool.

    It has more attributes than other classes: it owns the objects that share the work, and the status reads them.
    """

    def __init__(self, services: Services, config: PoolConfig, listener: Listener, callbacks: PoolCallbacks) -> None:
        self.services = services
        self.listener = listener
        self.state, self._callbacks = PoolState.NEW, callbacks
        self.current = current = CurrentConfig(config)
        self.record = Record(config, services.clock())
        services.cgroups.hold(config.name)
        share, self.slow_log = Share(services.loop), SlowLog(services, services.slow_files, config.name)
        self.access_log = AccessLog(services, share.budget, self.emit, lambda: self.workers.reopen_logs())
        stacks, self.exits = StackCapture(services, current, self.slow_log), PoolExits(services, config.name, self.emit)
        self.workers = Workers(services, current, self.access_log, self.record, share, stacks, self.slow_log, self.emit)
        self.resources = PoolResources(services.loop, self._on_shared)
        self.templates = Templates(
            TemplateFactory(services, listener, share, self.resources),
            current,
            self.workers,
            self.exits,
            TemplateTermination(services, config.name, stacks, self.emit),
            self._on_template_gone,
            self.emit,
        )
        self.failures = failures = StartFailures()
        responder = Responder(
            services, current, self.templates, self.resources, failures, self._wants_responder, self.emit
        )
        self.starter = TemplateStarter(
            services, current, self.templates, self.resources, failures, responder, self, self.emit
        )
        self.header = PoolHeader(services, self.record, current, self.resources, failures, self.workers)
        self.scaler = Scaler(
            services, current, listener, self.workers, self.starter, self._asked, self.header.write, self.emit
        )
        self.memory = MemoryWatch(self)
        self.timeouts = RequestTimeouts(services, config, self.workers, stacks, self.resources.all, self.emit)
        self.generations = Generations(
            services, current, self.workers, self.templates, self.starter, self.scaler, self.access_log, self
        )
        self.guard = SocketGuard(services, current, listener, self.generations, self.scaler, self.emit)
        self.reactions = WorkerReactions(self)
        self.workers.actions |= self.reactions.actions()

    # ---------------------------------------------------------------- the state

    @property
    def config(self) -> PoolConfig:
        """The configuration in force."""
        return self.current.config

    @property
    def is_stopping(self) -> bool:
        """Does it accept and make nothing any more?"""
        return self.state.is_stopping

    @property
    def is_empty(self) -> bool:
        """Has every process gone?"""
        return not self.workers.children and not self.templates.all()

    def happen(self, trigger: PoolTrigger) -> None:
        """Let something happen to the pool, and do what its table says."""
        step = POOL_TABLE[self.state, trigger]
        self.state = step.state
        told = {PoolAction.TELL_SETTLED: self._callbacks.on_settled, PoolAction.TELL_EMPTY: self._callbacks.on_empty}
        for action in step.actions:
            told[action]()

    # ---------------------------------------------------------------- beginning and end

    def start(self, obstacles: Collection[str] = ()) -> None:
        """Begin to serve: with a template and first workers, or (ondemand) with a look at the listening socket.

        If there are obstacles on this machine, it fails, and is tried later like any that does not start.
        """
        self.current.begin()
        self.failures.obstacle = "; ".join(obstacles).rstrip(".")
        if reason := self.failures.obstacle or self.listener.missing or self.prepare():
            self.happen(PoolTrigger.START)
            self.starter.fail_soon(reason)
            return
        self.happen(PoolTrigger.START_IDLE if self.config.pm == "ondemand" else PoolTrigger.START)
        self.scaler.start()

    def prepare(self) -> str:
        """Have the listening socket, the logs and the cgroup, if they are not had yet; returns why one cannot be."""
        try:
            self.guard.bind_missing()
            self.access_log.follow(self.config)
            self.slow_log.use(self.config)
        except StartError as error:
            return str(error)
        return self.services.cgroups.prepare(self.config)

    def reopen_logs(self) -> None:
        """Open the logs anew and hand the access log to the workers (SIGUSR1)."""
        self.slow_log.reopen(self.config)
        self.access_log.reopen(self.config)

    def begin_stop(self) -> None:
        """Accept nothing and make nothing any more; workers are told separately."""
        self.happen(PoolTrigger.STOP)
        self.scaler.stop()
        self.guard.stop()
        # New clients are refused at once; those that wait in the queue would hang until the end.
        self.listener.close()
        self.generations.abandon()
        self.starter.close()
        self.starter.responder.retire()

    def end_workers(self, event: WorkerEvent, timeout: float) -> None:
        """Have all processes leave.

        Args:
            event: RETIRE, and current requests finish, or TERMINATE.
            timeout: seconds for it, then they are killed.
        """
        for child in list(self.workers.children):
            self.workers.happen(child, event, reason=STOP, timeout=timeout)
        self.templates.stop(timeout)
        self.check_empty()

    def close(self) -> None:
        """Give all descriptors back, after the last process has gone; the socket file is removed."""
        self.timeouts.close()
        self.header.close()
        self.memory.close()
        self.guard.close()
        self.scaler.stop()
        self.starter.close()
        self.listener.close()
        for child in self.workers.children:
            child.close()
        self.templates.close()
        self.resources.close()
        self.slow_log.close()
        self.access_log.close()
        self.services.cgroups.release(self.config.name)

    # ---------------------------------------------------------------- what its parts tell

    def make_workers(self) -> None:
        """Make the workers that are wanted: the template can fork."""
        self.header.write()
        if self.config.pm == "ondemand":
            self.starter.responder.retire()
        self.scaler.evaluate()

    def start_failed(self) -> None:
        """Go on without an application; the failure has been noted."""
        self.reactions.serve_on()
        self.header.write()
        self.scaler.start_over()

    def config_changed(self) -> None:
        """Follow the configuration in force, where it is not only read."""
        self.slow_log.change(self.config)
        self.timeouts.take_config(self.config)
        self.memory.take_config()
        self.record.take_config(self.config)
        if refusal := self.services.cgroups.apply(self.config):
            self.emit(PoolChangeFailed(refusal, pool=self.config.name))
        self.header.write()

    def check_empty(self) -> None:
        """Give back what only former generations have used; note the end of the last worker, and of all."""
        if not self.workers.children:
            self.happen(PoolTrigger.LAST_WORKER_GONE)
            present = self.templates.present
            if present is not None and present.state.is_importing:
                self.happen(PoolTrigger.TEMPLATE_STARTED)
        self.templates.await_exits()
        if self.templates.are_current:
            self.resources.release([child.board for child in self.workers.children])
        self.header.follow_counts()
        if self.is_empty:
            self.happen(PoolTrigger.EMPTY)
        self.changed()

    def changed(self) -> None:
        """Tell that a worker serves, or that a process has gone."""
        self._callbacks.on_change(self.config.name)

    def emit(self, event: PoolEvent) -> None:
        """Something has happened in this pool."""
        self.record.take(self.services.emit(event))

    def _asked(self) -> None:
        self.memory.watch()
        self.happen(PoolTrigger.WORKERS_ASKED)

    def _wants_responder(self) -> bool:
        return not self.is_stopping and not self.listener.missing and not self.workers.has_serving

    def _on_shared(self, shared: SharedResources) -> None:
        self.scaler.turns.saturation.set_scoreboard(shared.wakeup, shared.park[0].fileno())
        self.guard.watch_parking(shared.park[0].fileno())
        self.timeouts.watch()
        self.header.take_board()

    def _on_template_gone(self, template: TemplateProcess) -> None:
        self.workers.template_gone(template)
        self.check_empty()

    # ---------------------------------------------------------------- an upgrade of pyfpm

    def dump(self, kept: InheritedFds) -> dict[str, Any]:
        """Describe the pool, with all its processes, for the next master."""
        boards = [shared.board for shared in self.resources.all()]
        children = self.workers.children
        ended = {child.template: None for child in children if child.template.state is TemplateState.GONE}
        return {
            "name": self.config.name,
            "state": self.state.name,
            "listener": dump_listener(self.listener, kept),
            "access_log": self.access_log.dump(kept),
            "record": self.record.dump(),
            "current": self.current.dump(),
            "failure": self.failures.dump(),
            "resources": self.resources.dump(kept),
            "world": self.resources.world.dump(kept),
            "statistics": self.resources.dump_statistics(),
            "templates": self.templates.dump(kept, ended),
            "children": [{**child.dump(kept), "board": boards.index(child.board)} for child in children],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `dump` was, with a pool that has just been made for its listener."""
        self.record.restore(state["record"], self.config)
        self.current.restore(state["current"])
        self.failures.restore(state["failure"])
        self.slow_log.change(self.config)
        self.services.cgroups.prepare(self.config)
        self.access_log.restore(state["access_log"], self.config)
        self.resources.restore_statistics(state.get("statistics", {}))
        self.resources.restore(state["resources"])
        self.resources.world.restore(state.get("world", {"key": [], "ends": []}))
        templates = self.templates.restore(state["templates"])
        boards = [shared.board for shared in self.resources.all()]
        for child in state["children"]:
            self.workers.restore(templates[child["template"]], boards[child["board"]], child)
        self.state = PoolState[state["state"]]
        self.happen(PoolTrigger.UPGRADED)

    def resume(self) -> None:
        """Serve on, when all pools have been restored."""
        self.scaler.resume()
        self.memory.watch()
        self.starter.look_at_stacks()
