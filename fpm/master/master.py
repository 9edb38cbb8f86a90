"""The master: reads events, asks the pure modules, tells the pools. One thread, and it never waits for anybody.

Rules of the file. Signals, the control socket and timers all end in the same few methods. The master never
imports an application and never forks without exec.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from signal import Signals
from typing import Any

from fpm import __version__
from fpm.config.model import Config, GlobalConfig, PoolConfig, UnixAddress
from fpm.errors import EXIT_OK, EXIT_SOFTWARE, StartError
from fpm.events.base import Event
from fpm.events.master import (
    ConfigNotice,
    ErrorLogFailed,
    ErrorLogReopened,
    InternalError,
    MasterExiting,
    MasterReady,
    MasterStarted,
    MasterStopping,
    MasterUpgraded,
    OrphanExited,
    PidFileFailed,
    ProgramGone,
    RestartNeeded,
    SocketUnused,
    StopIgnored,
    StrictStartFailed,
    UpgradeFailed,
)
from fpm.log.error import ErrorLog
from fpm.log.lines import parse_level
from fpm.master import control
from fpm.master.commands.commands import refusal, run_command
from fpm.master.lifecycle import Ending, State, Step, first_ending, may_change, next_ending
from fpm.master.listening.addresses import PassedSockets
from fpm.master.listening.inherited import restore_listener
from fpm.master.listening.status_listeners import StatusListeners
from fpm.master.loop.loop import WRITE, Loop
from fpm.master.loop.signals import SignalReader
from fpm.master.notifier import MANAGER_VARIABLES, Notifier
from fpm.master.pool.supervisor import PoolCallbacks, PoolSupervisor
from fpm.master.pool.worker_state import WorkerEvent
from fpm.master.processes.bundle import pack_bundle, sealed_memfd
from fpm.master.processes.exits import Usage, parse_status
from fpm.master.processes.oom import OomWatch
from fpm.master.processes.process import (
    become_subreaper,
    descendants,
    end_orphans,
    keep_descriptors,
    raise_file_limit,
    reap_next,
)
from fpm.master.reload.reloader import Reloader, Request
from fpm.master.services import Budget, Services
from fpm.master.sink import EventSink, EventWriter, log_reader
from fpm.master.status.memory import MemorySampler
from fpm.master.status.process import StatusProcess
from fpm.master.status.snapshot_source import refresh_memory, take_snapshot
from fpm.master.upgrade.upgrade import Upgrade
from fpm.status.overview import LastReload
from fpm.system import systemd
from fpm.system.listen_queue import ListenQueueReader
from fpm.system.listening import Listener
from fpm.system.own_command import own_command
from fpm.system.pidfile import OwnPidFile
from fpm.system.proctitle import set_title

STOP_MARGIN = 2.0
"""Seconds after the last step for workers when the process groups are killed."""


def _tell_nobody(message: dict[str, Any]) -> None:
    """A reload by signal: the log says it all."""


class Master:
    """Everything that the daemon does after its configuration has been checked."""

    def __init__(
        self,
        config: Config,
        log: ErrorLog,
        *,
        environ: Mapping[str, str],
        load: Callable[[], Config],
        on_ready: Callable[[list[str]], None],
        strict: bool = False,
        arguments: Sequence[str] = (),
        handed: dict[str, Any] | None = None,
        leash: int | None = None,
        events: EventWriter | None = None,
    ) -> None:
        """
        Args:
            environ: the environment that env[X] = $Y and clear_env = no speak of.
            load: reads the configuration anew for a reload; raises ConfigError.
            on_ready: called once when every pool serves or has failed, with the names of the failed ones.
            strict: end again if a pool fails at the start.
            arguments: the arguments with which an upgrade executes the installed program.
            handed: what the former program of an upgrade has handed over, see fpm.master.upgrade.handover.
            leash: a descriptor that reads end of file when whoever has started this master is gone; so goes the master.
            events: writes what happens for the program that embeds the master, in the place of the error log.
        """
        self.config = config
        self.log = log
        self.environ = environ
        self.load = load
        self.on_ready = on_ready
        self.strict = strict
        self.arguments = arguments
        self.sink = EventSink(time.time, log_reader(log) if events is None else events.take)
        self._written = log if events is None else events
        self.original_rlimit_files = (0, 0)
        self.memory = MemorySampler()
        self.status_listeners = StatusListeners()
        self.started = time.time() if handed is None else handed.get("started", 0.0)
        """Epoch seconds; an upgrade is no start."""
        self._handed = handed
        self._leash = leash
        self._status = EXIT_OK
        self.loop = Loop(self._report_defect)
        self.state = State.NORMAL
        self.pools: dict[str, PoolSupervisor] = {}
        self.incoming: dict[str, PoolSupervisor] = {}
        self.leaving: list[PoolSupervisor] = []
        """Pools that a reload has removed and that still have processes."""
        self.signals: SignalReader | None = None
        self.control: control.ControlServer | None = None
        self._at_end: list[Callable[[], None]] = []
        self.ready = False
        self.done = False
        self._ending: Ending | None = None
        self._log_fd: int | None = None
        self._pid_file = OwnPidFile()
        # Children of a program that embeds the master are not ours to end; after an upgrade all there are, are ours.
        self._others = descendants() if handed is None else []

    # ---------------------------------------------------------------- beginning

    def run(self) -> int:
        """Start, serve, and stop when told to.

        Returns:
            The exit status.

        Raises:
            StartError: a socket, a log or the pid file cannot be had; nothing is left behind then.
        """
        try:
            self._start()
            while not self.done:
                self.loop.run_once()
                self._watch_log()
        finally:
            self._clean_up()
        self.emit(MasterExiting())
        return self._status

    def _start(self) -> None:
        settings = self.config.global_
        handed = self._handed
        keep_descriptors()
        limits = raise_file_limit(settings.rlimit_files)
        self.original_rlimit_files = limits if handed is None else tuple(handed["rlimit_files"])
        become_subreaper()
        signals = self.signals = SignalReader()
        self.loop.watch(signals.fd, lambda: self._on_signals(signals.read()))
        if self._leash is not None:
            self.loop.watch(self._leash, self._on_leash)
        self.services = Services(
            loop=self.loop,
            log=self.log,
            sink=self.sink,
            settings=settings,
            bundle_fd=sealed_memfd("pyfpm-bundle", pack_bundle()),
            environ={name: value for name, value in self.environ.items() if name not in MANAGER_VARIABLES},
            original_rlimit_files=self.original_rlimit_files,
            queues=ListenQueueReader(),
            budget=Budget(settings.process_max),
            reapers={},
            clock=time.time,
            oom=OomWatch(),
        )
        self._at_end.append(self.services.stacks.close)
        self._at_end.append(self.services.oom.close)
        self.reloader = Reloader(self, time.time)
        self.status_process = StatusProcess(
            self.services,
            self.status_listeners,
            lambda name, workers: take_snapshot(self, name, workers=workers),
            lambda: refresh_memory(self),
        )
        self._at_end.append(self.status_process.close)
        self.notifier = Notifier(
            self.loop,
            self.environ,
            interval=settings.systemd_interval,
            census=lambda: [pool.workers.census() for pool in self.pools.values()],
        )
        self.sink.add_reader(self.notifier.take)
        set_title(f"pyfpm: master process ({settings.file})")
        if handed is None:
            self._begin()
        else:
            self._go_on(handed)
        self._check_ready()

    def _begin(self) -> None:
        """Nothing runs yet."""
        settings = self.config.global_
        self._serve_control(control.open_control_socket(settings.control))
        self._pid_file.move(settings.pid)
        self.status_listeners.open(self.config)
        passed = PassedSockets(systemd.listen_fds(self.environ, os.getpid()))
        for pool in self.config.pools:
            self.pools[pool.name] = self.make_pool(pool, passed.listener_for(pool))
        for name in passed.close():
            self.emit(SocketUnused(name))
        for notice in self.config.notices:
            self.emit(ConfigNotice(notice))
        self.emit(MasterStarted(pid=os.getpid()))
        for supervisor in self.pools.values():
            supervisor.start()
        self.status_listeners.take_over()

    def _go_on(self, handed: dict[str, Any]) -> None:
        """After an upgrade: sockets, templates and workers are there."""
        server = self._serve_control(restore_listener(UnixAddress(self.config.global_.control), handed["control"]))
        self._pid_file.path = self.config.global_.pid
        if handed.get("last_reload") is not None:
            self.reloader.last = LastReload(**handed["last_reload"])
        states = {state["name"]: state for state in handed["pools"]}
        for config in self.config.pools:
            pool = self.make_pool(config, restore_listener(config.listen, states[config.name]["listener"]))
            self.pools[config.name] = pool
            pool.restore(states[config.name])
        self.emit(MasterUpgraded(__version__, pid=os.getpid()))
        for pool in self.pools.values():
            pool.resume()
        self.status_listeners.restore(handed.get("status", []), self.config)
        self._reap()
        server.answer_handed(handed["waiter"], {"ok": True, "version": __version__})

    def _serve_control(self, listener: Listener) -> control.ControlServer:
        self.control = control.ControlServer(
            self.loop, listener, lambda connection, request: run_command(self, connection, request)
        )
        return self.control

    def _check_ready(self) -> None:
        if self.ready or not all(pool.state.is_settled for pool in self.pools.values()):
            return
        self.ready = True
        failed = [name for name, pool in self.pools.items() if pool.failures.failure is not None]
        is_refused = self.strict and bool(failed)
        self.emit(MasterReady(tuple(failed), is_refused))
        self.on_ready(failed)
        if is_refused:
            self.emit(StrictStartFailed(tuple(failed)))
            self._status = EXIT_SOFTWARE
            self.stop(State.TERMINATING)

    def _watch_log(self) -> None:
        """Lines, or events, wait for a slow reader: go on when there is room."""
        fd = self._written.pending_fd()
        if fd != self._log_fd:
            self._forget_log()
        if fd is not None and not self.loop.is_watched(fd):
            self.loop.watch(fd, self._written.flush, WRITE)
        self._log_fd = fd

    def _forget_log(self) -> None:
        if self._log_fd is not None:
            self.loop.forget(self._log_fd)
            self._log_fd = None

    # ---------------------------------------------------------------- signals

    def _on_signals(self, numbers: set[Signals]) -> None:
        if Signals.SIGCHLD in numbers:
            self._reap()
        if Signals.SIGTERM in numbers or Signals.SIGINT in numbers:
            self.stop(State.TERMINATING)
        elif Signals.SIGQUIT in numbers:
            self.stop(State.FINISHING)
        if Signals.SIGUSR1 in numbers:
            self.reopen_logs()
        if Signals.SIGUSR2 in numbers or Signals.SIGHUP in numbers:
            self.reload()

    def _on_leash(self) -> None:
        """The program that this master is a part of is gone, however it ended."""
        if self._leash is not None:
            self.loop.forget(self._leash)
            self._leash = None
        self.emit(ProgramGone())
        self.stop(State.TERMINATING)

    def _reap(self) -> None:
        while True:
            pid = reap_next(self._before_reaping, self._after_reaping)
            if pid == 0:
                return

    def _before_reaping(self, pid: int) -> None:
        """The zombie still holds its pid, so its process group cannot be somebody else's yet."""
        for pool in self._all_pools():
            template = pool.templates.find(pid)
            if template is not None and pool.is_stopping:
                template.kill_group()

    def _after_reaping(self, pid: int, status: int, usage: Usage) -> None:
        for pool in self._all_pools():
            template = pool.templates.find(pid)
            if template is not None:
                pool.templates.gone(template, parse_status(status), usage)
                return
        for pool in self._all_pools():
            child = pool.workers.find(pid)
            if child is not None:
                pool.workers.exited(child, parse_status(status), usage)
                return
        reaper = self.services.reapers.pop(pid, None)
        if reaper is not None:
            reaper(status)
            return
        self.emit(OrphanExited(str(parse_status(status)), pid=pid))

    def emit(self, event: Event) -> Event:
        """Tell everybody who reads what happens."""
        return self.sink.emit(event)

    # ---------------------------------------------------------------- what it is told

    def reopen_logs(self) -> None:
        """SIGUSR1: open all log files anew, without touching a worker's request."""
        self._forget_log()
        try:
            self.log.reopen()
            self.log.flush()
            self.emit(ErrorLogReopened())
        except StartError as error:
            self.emit(ErrorLogFailed(str(error)))
        for pool in self.pools.values():
            pool.reopen_logs()

    def reload(self) -> None:
        """SIGUSR2, SIGHUP: as `pyfpm reload`, without anybody who waits for the outcome."""
        if self.state is State.NORMAL:
            self.reloader.request(Request(tell=_tell_nobody))

    def make_pool(self, config: PoolConfig, listener: Listener) -> PoolSupervisor:
        """See fpm.master.reload.reload.Host."""
        events = PoolCallbacks(self._check_ready, self._on_pool_empty, self.reloader.pool_changed)
        return PoolSupervisor(self.services, config, listener, events)

    def drain_pool(self, pool: PoolSupervisor) -> None:
        """See fpm.master.reload.reload.Host."""
        self.leaving.append(pool)
        pool.begin_stop()
        pool.end_workers(WorkerEvent.RETIRE, self.config.global_.process_control_timeout)

    def take_config(self, config: Config) -> None:
        """See fpm.master.reload.reload.Host."""
        self._take_settings(config.global_)
        self.config = config

    def _take_settings(self, settings: GlobalConfig) -> None:
        former = self.config.global_
        for name in ("control", "error_log", "syslog_ident", "syslog_facility", "rlimit_files", "systemd_interval"):
            if getattr(former, name) != getattr(settings, name):
                self.emit(RestartNeeded(name.replace("syslog_", "syslog.")))
        self.log.level = parse_level(settings.log_level)
        try:
            self._pid_file.move(settings.pid)
        except StartError as error:
            self.emit(PidFileFailed(str(error)))
        self.services.settings = settings
        self.services.budget.limit = settings.process_max

    def stop(self, state: State) -> None:
        """SIGQUIT (FINISHING: requests in hand finish), SIGTERM and SIGINT (TERMINATING: at once)."""
        if not may_change(self.state, state):
            self.emit(StopIgnored(state.value, self.state.value))
            return
        self.state = state
        self.reloader.cancel("the master is stopping")
        timeout = self.config.global_.process_control_timeout
        self._ending = first_ending(state, timeout)
        for pool in self._all_pools():
            if not pool.is_stopping:
                pool.begin_stop()
        # Whoever reads this may rely on it: new clients are refused by now.
        self.emit(MasterStopping(state is State.FINISHING))
        self._press()

    def _press(self) -> None:
        ending = self._ending
        if ending is None or self.done:
            return
        for pool in self._all_pools():
            if ending.step is Step.QUIT:
                pool.end_workers(WorkerEvent.RETIRE, ending.wait)
            elif ending.step is Step.TERM:
                pool.end_workers(WorkerEvent.TERMINATE, ending.wait)
            else:
                pool.templates.kill_all()
        self._ending = next_ending(ending)
        # Workers have timers of their own for their last steps; what is left after them is killed by groups.
        self.loop.call_later(ending.wait + STOP_MARGIN, self._press_if_still(ending))
        self._on_pool_empty()

    def _press_if_still(self, former: Ending) -> Callable[[], None]:
        expected = self._ending

        def press() -> None:
            if self._ending is expected:
                self._press()

        return press

    def _on_pool_empty(self) -> None:
        for pool in list(self.leaving):
            if pool.is_empty:
                self.leaving.remove(pool)
                pool.close()
        if self.state is not State.NORMAL and all(pool.is_empty for pool in self._all_pools()):
            self.done = True

    def upgrade(self, waiter: control.Connection) -> None:
        """`pyfpm upgrade`: become the installed program, with everything that runs."""

        def fail(reason: str) -> None:
            self.emit(UpgradeFailed(reason))
            waiter.answer(refusal(reason))

        Upgrade(self, own_command("fpm", *self.arguments), self.environ, waiter, fail).start(self.load)

    # ---------------------------------------------------------------- the end

    def _all_pools(self) -> list[PoolSupervisor]:
        return [*self.pools.values(), *self.incoming.values(), *self.leaving]

    def _report_defect(self, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error))
        self.emit(InternalError(text))

    def _clean_up(self) -> None:
        """Leave nothing behind, however far the start has come."""
        for pool in self._all_pools():
            pool.templates.kill_all()
            pool.close()
        for close in self._at_end:
            close()
        if self.control is not None:
            self.control.close()
        end_orphans(self._others, self.emit)
        self._pid_file.remove()
        self.loop.close()
        if self.signals is not None:
            self.signals.close()
