"""A pool without processes: workers, scaler, trial and reactions are the real ones; only templates and workers are not.

The loop does not run, so nothing happens by itself: a test lets time go on, or a process say something.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fpm.config.model import PoolConfig
from fpm.events.base import Event
from fpm.log.error import ErrorLog
from fpm.master.core import EventSink
from fpm.master.loop.fair_reader import Share
from fpm.master.loop.loop import Loop
from fpm.master.pool.child import Child
from fpm.master.pool.current_config import CurrentConfig
from fpm.master.pool.exits import PoolExits
from fpm.master.pool.history import STOP, Record
from fpm.master.pool.pool_state import PoolState, PoolTrigger
from fpm.master.pool.scaling import Scaler
from fpm.master.pool.template_state import TemplateState
from fpm.master.pool.trial import Trial, Verdict
from fpm.master.pool.worker_reactions import WorkerReactions
from fpm.master.pool.worker_state import WorkerEvent, WorkerState
from fpm.master.pool.workers import Workers
from fpm.master.processes.backoff import Backoff, after_template_failure
from fpm.master.processes.oom import OomWatch
from fpm.master.processes.owner import OwnerCheck, own_ids
from fpm.master.services import Budget, Services
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.stages import Stage
from fpm.stacks.trace import Trace
from fpm.system.listen_queue import ListenQueue
from tests.support.configuration import Files, section


@cache
def pool_config(**changes: str) -> PoolConfig:
    """A pool's configuration."""
    with tempfile.TemporaryDirectory() as directory:
        return Files(Path(directory)).pool(section("www", **{"catch_workers_output": "no", **changes}))


class Template:
    """A template that is ready and takes every request."""

    def __init__(self, pid: int, *, preload: bool = True) -> None:
        self.pid = pid
        self.preload = preload
        self.state = TemplateState.READY
        self.config: Any = None
        self.generation = 1
        self.cgroup = self.directory = ""
        self.started = 0.0
        self.killed = False
        self.owner = OwnerCheck(lambda event: event, "www", own_ids())

    def fork_worker(self, slot: int, fds: list[int], *, hold: bool = False) -> bool:
        """Take a request."""
        return True

    def give_up(self, *reasons: object) -> None:
        """End it; what it has forked lives."""
        self.killed = True


class Starter:
    """The templates, as far as workers, scaler and trial need them."""

    def __init__(self, board: Scoreboard, loop: Loop) -> None:
        self._loop = loop
        self._count = 0
        shared = SimpleNamespace(board=board)
        self.resources = SimpleNamespace(current=shared, for_trial=lambda slots: shared)
        self.failures = SimpleNamespace(failure=None, backoff=Backoff(), pause=lambda now: 0.0)
        self.templates = SimpleNamespace(
            present=None, start=lambda *args: self.make(), happen=lambda *args, **changes: None
        )
        self.responder = SimpleNamespace(start=lambda: None)

    def make(self) -> Template:
        """Another template."""
        self._count += 1
        return Template(-self._count)  # no process: nothing can be signalled

    def ready_template(self) -> Template | None:
        """See TemplateStarter."""
        if self.templates.present is None and self._loop.now >= self.failures.backoff.until:
            self.templates.present = self.make()
        present: Template | None = self.templates.present
        return present

    def retire(self) -> None:
        """The present template goes, with what it has not forked."""
        self.templates.present = None

    def fail(self, error: str, traceback: str) -> None:
        """The application does not start."""
        self.failures.failure = error
        self.failures.backoff = after_template_failure(self.failures.backoff, self._loop.now)

    def clear_failure(self) -> None:
        """A worker serves."""
        self.failures.failure, self.failures.backoff = None, Backoff()


class Process:
    """A worker's process, as long as the test lets it live."""

    def __init__(self, pid: int) -> None:
        self.pid = self.reported_pid = self.name = pid
        self.pidfd = -1
        self.signals: list[int] = []
        self.alive = True

    def send_signal(self, number: int) -> bool:
        """Take a signal."""
        self.signals.append(number)
        return True

    def is_stranger(self) -> bool:
        """It stays its pool's user's."""
        return False

    def is_gone(self) -> bool:
        """Has it ended?"""
        return not self.alive

    def watch_end(self, callback: Callable[[], None]) -> None:
        """Nobody waits here."""

    def close(self) -> None:
        """Nothing is held."""


class Stacks:
    """Whoever wants a stack learns at once that there is none."""

    def __init__(self, config: PoolConfig) -> None:
        self.config = config

    def take(self, child: Child, reason: str, done: Callable[[Trace], None] | None = None, *, sample: int = 1) -> None:
        """See StackCapture."""
        if done is not None:
            done(Trace(child.pid, "", error="not here"))

    def take_of_template(self, template: Template, reason: str, done: Callable[[Trace], None]) -> None:
        """See StackCapture."""
        done(Trace(template.pid, "", error="not here"))


class PoolModel:
    """See the module."""

    def __init__(self, **changes: str) -> None:
        self.config = pool_config(**changes)
        self.loop = Loop(self._raise)
        self.events: list[Event] = []
        self.queued = 0
        self.services = self._make_services()
        self.state = PoolState.RUNNING
        self.generations: Any = SimpleNamespace(trial=None, restart=lambda: None)
        self.current: Any = CurrentConfig(self.config)
        self.verdicts: list[Verdict] = []
        self._listening = socket.socketpair()
        self._pids = 0
        listener: Any = SimpleNamespace(socket=self._listening[0])
        slots = self.config.pm_max_children * 2 + 1
        self.board = Scoreboard.create(slots)
        record = Record(self.config, 0.0)
        stacks: Any = Stacks(self.config)
        access_log: Any = SimpleNamespace(fd=None)
        slow_log: Any = SimpleNamespace(write=lambda *_: None)
        share = Share(self.services.loop)
        self.workers = Workers(self.services, self.current, access_log, record, share, stacks, slow_log, self.emit)
        self.starter: Any = Starter(self.board, self.loop)
        self.header: Any = SimpleNamespace(write=lambda: None)
        self.timeouts: Any = SimpleNamespace(watch=lambda: None)
        self.exits = PoolExits(self.services, "www", self.emit)
        self.scaler = Scaler(
            self.services,
            self.current,
            listener,
            self.workers,
            self.starter,
            lambda: None,
            lambda: None,
            self.emit,
        )
        self.reactions = WorkerReactions(self)
        self.workers.actions |= self.reactions.actions()

    def close(self) -> None:
        """Give everything back."""
        for child in list(self.workers.children):
            child.close()
        self.workers.children.clear()
        self.scaler.stop()
        self.services.oom.close()
        self.services.stacks.close()
        self.services.log.close()
        self.loop.close()
        self.board.close()
        for end in self._listening:
            end.close()

    # ---------------------------------------------------------------- what a pool is for its parts

    def emit(self, event: Any) -> None:
        """Keep an event."""
        self.events.append(event)

    def happen(self, trigger: PoolTrigger) -> None:
        """See worker_reactions.Pool."""

    def changed(self) -> None:
        """See worker_reactions.Pool."""

    def check_empty(self) -> None:
        """See worker_reactions.Pool."""

    @property
    def trial(self) -> Trial | None:
        """The generation that is checked."""
        found: Trial | None = self.generations.trial
        return found

    def commit(self) -> None:
        """It takes over."""
        trial, self.generations.trial = self.trial, None
        accepted = trial.accept() if trial is not None else None
        if accepted is not None:
            self.starter.templates.present = accepted[0]
            self.scaler.replace_all()

    def abandon(self) -> None:
        """It goes."""
        trial, self.generations.trial = self.trial, None
        if trial is not None:
            trial.abandon()

    # ---------------------------------------------------------------- what a test does

    @property
    def children(self) -> list[Child]:
        """The workers."""
        return self.workers.children

    def in_state(self, *states: WorkerState) -> list[Child]:
        """Those in one of the states."""
        return [child for child in self.children if child.state in states]

    @property
    def accepting(self) -> int:
        """How many take requests."""
        return len(self.in_state(WorkerState.SERVING, WorkerState.ACTIVATING, WorkerState.SUPERSEDED))

    def fork(self, child: Child) -> None:
        """Its template has forked it."""
        self._pids += 1
        process: Any = Process(self._pids + 100)
        child.process = process
        self.workers.happen(child, WorkerEvent.FORKED)

    def become_ready(self, child: Child) -> None:
        """It starts, and is idle."""
        if child.state.is_unforked:
            self.fork(child)
        self.work(child, Stage.ACCEPTING)
        self.workers.happen(child, WorkerEvent.READY)

    def start_all(self) -> None:
        """Whatever has been asked for becomes ready."""
        while starting := self.in_state(WorkerState.REQUESTED, WorkerState.STARTING):
            self.become_ready(starting[0])

    def hang_up(self, child: Child) -> None:
        """It closes its channel, whose other end nobody else has here."""
        self.workers._messages.read_last(child)

    def work(self, child: Child, stage: Stage) -> None:
        """Let it say what it does."""
        child.slot.board.stages[child.slot.number] = stage

    def fire(self, child: Child) -> None:
        """Its timer is over."""
        timer = child._timer
        if timer is not None and timer.callback is not None:
            callback, timer.callback = timer.callback, None
            callback()

    def let_time_pass(self, seconds: float) -> None:
        """The loop's clock goes on; timers do not."""
        self.loop.now += seconds

    def reload(self) -> None:
        """A new generation, up to its template."""
        self.abandon()
        templates, resources = self.starter.templates, self.starter.resources
        trial = Trial(
            self.workers,
            templates,
            resources,
            self.config,
            self.current.release,
            self.verdicts.append,
            lambda step: None,
        )
        self.generations.trial = trial
        trial.start(self.current)
        trial.template_ready()

    def stop(self) -> None:
        """Begin a graceful stop."""
        self.state = PoolState.STOPPING
        self.scaler.stop()
        self.abandon()
        for child in list(self.children):
            self.workers.retire(child, STOP)

    def _raise(self, error: BaseException) -> None:
        raise error

    def _make_services(self) -> Services:
        log = ErrorLog("/dev/null")
        services = Services(
            loop=self.loop,
            log=log,
            sink=EventSink(time.time),
            reapers={},
            clock=time.time,
            settings=SimpleNamespace(  # type: ignore[arg-type]
                process_control_timeout=30.0,
                emergency_restart_threshold=0,
                emergency_restart_interval=0.0,
                control="",
            ),
            bundle_fd=-1,
            environ={},
            original_rlimit_files=(1024, 1024),
            queues=SimpleNamespace(read=lambda fd: ListenQueue(self.queued, 128)),  # type: ignore[arg-type]
            budget=Budget(),
            oom=OomWatch(),
        )
        return services
