"""The master: reads events, asks the pure modules, tells the pools. One thread, and it never waits for anybody.

Rules of the file. Signals, the control socket and timers all end in the same few methods. The master never
imports an application and never forks without exec.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from functools import partial
from signal import Signals
from typing import Any

from fpm import __version__
from fpm.config.model import Config, PoolConfig, UnixAddress
from fpm.errors import EXIT_OK, EXIT_SOFTWARE, StartError
from fpm.events.base import Event
from fpm.events.master import (
    ConfigNotice,
    InternalError,
    MasterExiting,
    MasterReady,
    MasterStarted,
    MasterUpgraded,
    PidFileFailed,
    ProgramGone,
    SocketUnused,
    StrictStartFailed,
    UpgradeFailed,
)
from fpm.log.error import ErrorLog
from fpm.master import control
from fpm.master.commands.commands import refusal, run_command
from fpm.master.core import EventSink, log_reader
from fpm.master.lifecycle import State, stop_state
from fpm.master.listening.addresses import PassedSockets
from fpm.master.listening.inherited import restore_listener
from fpm.master.listening.status_listeners import StatusListeners, serve_without
from fpm.master.log_watch import LogWatch, reopen_log
from fpm.master.loop.loop import Loop
from fpm.master.loop.signals import SignalReader
from fpm.master.notifier import Notifier
from fpm.master.pool.current_config import restore_config
from fpm.master.pool.pool_callbacks import PoolCallbacks
from fpm.master.pool.supervisor import PoolSupervisor
from fpm.master.pools import Pools, Reaper
from fpm.master.processes.path_looks import paths_of
from fpm.master.processes.process import descendants, end_orphans
from fpm.master.reload.reloader import Reloader, Request
from fpm.master.services import Services
from fpm.master.setup import Setup, make_services, prepare_process
from fpm.master.shutdown import Shutdown
from fpm.master.status.process import StatusProcess
from fpm.master.status.snapshot_source import refresh_memory, take_snapshot
from fpm.master.upgrade.upgrade import Upgrade
from fpm.status.overview import read_last_reload
from fpm.system import systemd
from fpm.system.listening import Listener
from fpm.system.own_command import own_command
from fpm.system.pidfile import OwnPidFile
from fpm.system.proctitle import set_title


class Master:
    """Everything that the daemon does after its configuration has been checked.

    It has more attributes than other classes because it owns one object for each part of the daemon.
    """

    def __init__(self, config: Config, log: ErrorLog, setup: Setup) -> None:
        self.config = config
        self.log = log
        self.load = setup.load
        self._setup = setup
        events = setup.events
        self.sink = EventSink(time.time, log_reader(log) if events is None else events.take)
        self.original_rlimit_files = (0, 0)
        self.status_listeners = StatusListeners()
        self.executed = time.time()
        self.started = self.executed if setup.handed is None else setup.handed.get("started", 0.0)
        """Epoch seconds; an upgrade is no start."""
        self._status = EXIT_OK
        self.loop = Loop(self._report_defect)
        self.pools = Pools()
        self.log_watch = LogWatch(self.loop, log if events is None else events)
        self.signals: SignalReader | None = None
        self.control: control.ControlServer | None = None
        self._at_end: list[Callable[[], None]] = []
        self.ready = False
        self._pid_file = OwnPidFile()
        # Children of a program that embeds the master are not ours to end; after an upgrade all there are, are ours.
        self._others = descendants() if setup.handed is None else []

    # ---------------------------------------------------------------- beginning

    def run(self) -> int:
        """Start, serve, and stop when told to.

        Returns:
            The exit status.

        Raises:
            StartError: a socket, a log or the pid file cannot be had; nothing is left behind then.
        """
        self.original_rlimit_files = prepare_process(self._setup, self.config.global_)
        try:
            self._start()
            while not self.shutdown.is_over():
                self.loop.run_once()
                self.log_watch.look()
        finally:
            self._clean_up()
        self.emit(MasterExiting())
        return self._status

    def _start(self) -> None:
        setup, settings = self._setup, self.config.global_
        signals = self.signals = SignalReader()
        self.loop.watch(signals.fd, lambda: self._on_signals(signals.read()))
        if setup.parent_fd is not None:
            self.loop.watch(setup.parent_fd, self._on_parent_exit)
        self._make_parts(make_services(setup, settings, self.loop, self.log, self.sink, self.original_rlimit_files))
        set_title(f"pyfpm: master process ({settings.file})")
        if setup.handed is None:
            self._begin()
        else:
            self._go_on(setup.handed)
        self._check_ready()

    def _make_parts(self, services: Services) -> None:
        self.services = services
        self.reaper = Reaper(self.pools, services, [process.pid for process in self._others])
        self.reloader = Reloader(self, time.time)
        self.status_process = StatusProcess(
            services,
            self.status_listeners,
            lambda name, workers: take_snapshot(self, name, workers=workers, routes=workers),
            lambda: refresh_memory(self),
        )
        self.shutdown = Shutdown(self.loop, self.pools, self.status_process, self.emit)
        self.notifier = Notifier(
            self.loop,
            self._setup.environ,
            interval=services.settings.systemd_interval,
            census=lambda: [pool.workers.census() for pool in self.pools.values()],
        )
        self.sink.add_reader(self.notifier.take)
        self._at_end += [services.close, self.reaper.leftovers.close, self.status_process.close]

    def _begin(self) -> None:
        """Nothing runs yet."""
        settings = self.config.global_
        self._serve_control(control.open_control_socket(settings.control))
        self.status_listeners.open(self.config, serve_without(self.emit))
        passed = PassedSockets(systemd.listen_fds(self._setup.environ, os.getpid()))
        for pool in self.config.pools:
            self.pools[pool.name] = self.make_pool(pool, passed.listener_for(pool))
        for name in passed.close():
            self.emit(SocketUnused(name))
        self._pid_file.move(settings.pid)  # a second daemon is refused by its sockets, and must leave it to the first
        for notice in self.config.notices:
            self.emit(ConfigNotice(notice))
        self.emit(MasterStarted(pid=os.getpid()))
        for name, supervisor in self.pools.items():
            supervisor.start(self.config.obstacles.get(name, ()))
        self.status_listeners.take_over()

    def _go_on(self, handed: dict[str, Any]) -> None:
        """After an upgrade: sockets, templates and workers are there."""
        server = self._serve_control(restore_listener(UnixAddress(self.config.global_.control), handed["control"]))
        self._pid_file.path = self.config.global_.pid
        self.reloader.last = read_last_reload(handed.get("last_reload"))
        states = {state["name"]: state for state in handed["pools"]}
        for config in self.config.pools:
            state = states[config.name]
            own = restore_config(state["current"], config)
            self.pools[config.name] = self.make_pool(own, restore_listener(own.listen, state["listener"]))
            self.pools[config.name].restore(state)
        self.status_process.restore(handed.get("status_process", 0))
        self.emit(MasterUpgraded(__version__, pid=os.getpid()))
        for pool in self.pools.values():
            pool.resume()
        in_force, refused = self.pools.in_force(self.config), serve_without(self.emit)
        self.status_listeners.restore(handed.get("status", []), in_force, refused)
        self.reaper.reap()
        server.answer_handed(handed["waiter"], {"ok": True, "version": __version__})

    def _serve_control(self, listener: Listener) -> control.ControlServer:
        self.control = control.ControlServer(
            self.loop, listener, lambda connection, request: run_command(self, connection, request)
        )
        return self.control

    def _check_ready(self) -> None:
        if self.ready or not self.pools.are_settled:
            return
        self.ready = True
        failed = [name for name, pool in self.pools.items() if pool.failures.failure is not None]
        is_refused = self._setup.strict and bool(failed)
        self.emit(MasterReady(tuple(failed), is_refused))
        self._setup.on_ready(failed)
        self.status_process.master_ready()
        if is_refused:
            self.emit(StrictStartFailed(tuple(failed)))
            self._status = EXIT_SOFTWARE
            self.stop(State.TERMINATING)

    # ---------------------------------------------------------------- signals

    def _on_signals(self, numbers: set[Signals]) -> None:
        if Signals.SIGCHLD in numbers:
            self.reaper.reap()
        if stop := stop_state(numbers, sigterm=self.config.global_.sigterm):
            self.stop(stop)
        if Signals.SIGUSR1 in numbers:
            self.reopen_logs()
        if Signals.SIGUSR2 in numbers or Signals.SIGHUP in numbers:
            self.reload()

    def _on_parent_exit(self) -> None:
        """The program that this master is a part of is gone, however it ended."""
        if self._setup.parent_fd is not None:
            self.loop.forget(self._setup.parent_fd)
        self.emit(ProgramGone())
        self.stop(State.TERMINATING)

    def emit(self, event: Event) -> Event:
        """Tell everybody who reads what happens."""
        return self.sink.emit(event)

    # ---------------------------------------------------------------- what it is told

    def reopen_logs(self) -> None:
        """SIGUSR1: open all log files anew, without touching a worker's request."""
        self.log_watch.forget()
        reopen_log(self.log, self.emit)
        for pool in self.pools.values():
            pool.reopen_logs()

    def reload(self) -> None:
        """SIGUSR2, SIGHUP: as `pyfpm reload`, without anybody who waits for the outcome."""
        begin = partial(self.reloader.request, Request())
        if self.control is not None:
            self.control.mend(self.emit)
        if self.shutdown.state is State.NORMAL:
            self.services.paths.look(paths_of(pool.config for pool in self.pools.values()), begin)

    def make_pool(self, config: PoolConfig, listener: Listener) -> PoolSupervisor:
        """See fpm.master.reload.reload.Host."""
        events = PoolCallbacks(self._check_ready, self.pools.close_drained, self.reloader.pool_changed)
        return PoolSupervisor(self.services, config, listener, events)

    def take_config(self, config: Config) -> None:
        """See fpm.master.reload.reload.Host."""
        self.services.take_settings(config.global_)
        self.status_process.settings_changed()
        try:
            self._pid_file.move(config.global_.pid)
        except StartError as error:
            self.emit(PidFileFailed(str(error)))
        self.config = config

    def stop(self, state: State) -> None:
        """SIGQUIT (FINISHING: requests in hand finish), SIGTERM and SIGINT (TERMINATING: at once)."""
        if not self.shutdown.may_begin(state):
            return
        self.services.paths.close()  # a reload that waits for them does not begin any more
        self.reloader.cancel("the master is stopping")
        self.shutdown.begin(state, self.config.global_.process_control_timeout)

    def upgrade(self, waiter: control.Connection) -> None:
        """`pyfpm upgrade`: become the installed program, with everything that runs."""

        def fail(reason: str) -> None:
            self.emit(UpgradeFailed(reason))
            waiter.answer(refusal(reason))

        Upgrade(self, own_command("fpm", *self._setup.arguments), self._setup.environ, waiter, fail).start(self.load)

    # ---------------------------------------------------------------- the end

    def _report_defect(self, error: BaseException) -> None:
        self.emit(InternalError("".join(traceback.format_exception(error))))

    def _clean_up(self) -> None:
        """Leave nothing behind, however far the start has come."""
        self.pools.close()
        for close in self._at_end:
            close()
        if self.control is not None:
            self.control.close()
        end_orphans(self._others, self.services.pool_ids, self.emit)
        self.services.cgroups.close()
        self._pid_file.remove()
        self.loop.close()
        if self.signals is not None:
            self.signals.close()
