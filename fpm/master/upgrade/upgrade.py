"""`pyfpm upgrade`: the running master becomes the installed program, with the same pid and without losing a connection.

First the installed program, in a process of its own, reads the configuration and the description of what runs. Only if
it can do with both does the master execute it in its own place (execve(2)).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from fpm.config.dump import dump
from fpm.config.model import Config
from fpm.errors import ConfigError, StartError
from fpm.events.master import UpgradeExecuting, UpgradeStarted
from fpm.master import control
from fpm.master.lifecycle import State
from fpm.master.listening.inherited import InheritedFds, dump_listener
from fpm.master.listening.status_listeners import StatusListeners
from fpm.master.loop.signals import HANDLED
from fpm.master.notifier import LISTEN_VARIABLES
from fpm.master.processes.helper_process import OneAnswer
from fpm.master.reload.plan import ALL
from fpm.master.reload.reload import Host
from fpm.master.reload.reloader import Reloader
from fpm.master.reload.target import make_target
from fpm.master.services import Services
from fpm.master.shutdown import Shutdown
from fpm.master.status.process import StatusProcess
from fpm.master.upgrade.handover import VARIABLE, pack
from fpm.protocol import messages
from fpm.system.spawn import spawn

PREFLIGHT_TIME = 30.0
"""Seconds that the installed program may take to say that it could go on."""
STATE_FD, READING_FD = 3, 4


class UpgradeHost(Host, Protocol):
    """What an upgrade needs of the master."""

    services: Services
    reloader: Reloader
    control: control.ControlServer | None
    config: Config
    original_rlimit_files: tuple[int, int]
    started: float
    shutdown: Shutdown
    status_listeners: StatusListeners
    status_process: StatusProcess


class Upgrade:
    """One upgrade under way; the object does not outlive a successful one."""

    def __init__(
        self,
        host: UpgradeHost,
        command: Sequence[str],
        environ: Mapping[str, str],
        waiter: control.Connection,
        finish: Callable[[str], None],
    ) -> None:
        """
        Args:
            command: how the installed program is executed, see fpm.system.own_command.
            environ: the environment that the master was started with.
            waiter: who has asked; the new program answers.
            finish: told why it has failed; the present program goes on then.
        """
        self._host = host
        self._command = list(command)
        # The sockets that systemd has passed are among those handed over; they must not be taken a second time.
        self._environ = {name: value for name, value in environ.items() if name not in LISTEN_VARIABLES}
        self._waiter = waiter
        self._finish = finish
        self._config = host.config
        self._reading = -1
        """What the installed program makes of the configuration, for itself."""

    def start(self, load: Callable[[], Config]) -> None:
        """Look whether it may be done, then ask the installed program."""
        obstacle = self._obstacle(load)
        if obstacle:
            self._finish(obstacle)
            return
        self._host.services.emit(UpgradeStarted())
        state_fd = -1
        try:
            state_fd = pack({**self._describe(InheritedFds()), "reading": READING_FD})
            self._reading = os.memfd_create("pyfpm-reading", os.MFD_CLOEXEC)
            command, environ = [*self._command, "--check"], {**self._environ, VARIABLE: str(STATE_FD)}
            OneAnswer(
                self._host.services,
                "it",
                lambda out: spawn(command, {STATE_FD: state_fd, READING_FD: self._reading, 1: out, 2: out}, environ),
                PREFLIGHT_TIME,
                self._checked,
            )
        except OSError as error:
            self._fail(f"the installed program cannot be executed: {error.strerror}")
        finally:
            if state_fd >= 0:
                os.close(state_fd)

    def _obstacle(self, load: Callable[[], Config]) -> str:
        if self._host.reloader.busy:
            return "a reload is under way"
        if self._host.pools.draining:
            names = ", ".join(pool.config.name for pool in self._host.pools.draining)
            return f"pools that have been removed still finish their requests: {names}; try again later"
        try:
            fresh = load()
        except ConfigError as error:
            return f"the configuration has mistakes, so no program could start with it:\n{error}"
        if dump(fresh) != dump(self._host.config):
            return self._what_first(fresh)
        return ""

    def _what_first(self, fresh: Config) -> str:
        """Say what brings what the files say into force."""
        running = {name: pool.config for name, pool in self._host.pools.items()}
        lacking = make_target(fresh, running, ALL).lacking
        if not lacking:
            return "the configuration has changed since it was last read; run `pyfpm reload` first"
        return (
            "not all pools run by what the files say, and a reload that changes that would be refused; see to this, "
            "then run `pyfpm reload` first:\n" + "\n".join(lacking)
        )

    def _checked(self, wrong: str | None) -> None:
        if wrong is not None:
            self._fail(f"the installed program cannot take over, the present one goes on: {wrong}")
            return
        if self._host.shutdown.state is not State.NORMAL or self._is_changing or self._host.config is not self._config:
            self._fail("a stop or a reload has begun meanwhile; try again")
            return
        self._host.services.emit(UpgradeExecuting())
        self._host.services.log.flush()
        kept = InheritedFds()
        state_fd = pack({**self._describe(kept), "reading": kept.keep(self._reading)})
        kept.keep(state_fd)
        # What comes between two programs must wait: the default action of SIGTERM would end both.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        kept.set_inheritable(True)
        try:
            os.execve(self._command[0], self._command, {**self._environ, VARIABLE: str(state_fd)})
        except OSError as error:
            kept.set_inheritable(False)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            os.close(state_fd)
            self._fail(f"the installed program cannot be executed: {error.strerror}")

    def _fail(self, reason: str) -> None:
        if self._reading >= 0:
            os.close(self._reading)
        self._finish(reason)

    @property
    def _is_changing(self) -> bool:
        return self._host.reloader.busy or bool(self._host.pools.draining)

    def _describe(self, kept: InheritedFds) -> dict[str, Any]:
        server = self._host.control
        if server is None:
            raise StartError("there is no control socket")
        waiter = self._waiter.socket.fileno()
        last = self._host.reloader.last
        return {
            "pid": os.getpid(),
            "dump": dump(self._host.config),
            "given": {section: sorted(names) for section, names in self._host.config.given.items()},
            "protocol": messages.VERSION,
            "control": dump_listener(server.listener, kept),
            "rlimit_files": list(self._host.original_rlimit_files),
            "status": self._host.status_listeners.dump(kept),
            "status_process": self._host.status_process.dump(),
            "started": self._host.started,
            "last_reload": asdict(last) if last is not None else None,
            "waiter": kept.keep(waiter) if waiter >= 0 else -1,
            "pools": [pool.dump(kept) for pool in self._host.pools.values()],
        }
