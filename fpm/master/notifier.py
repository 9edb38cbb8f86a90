"""What systemd is told, and how often: ready, reloading, stopping, the numbers of the status line, the watchdog."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence

from fpm.events.base import Event
from fpm.events.master import MasterReady, MasterStopping, ReloadEnded, ReloadStarted, UpgradeFailed, UpgradeStarted
from fpm.master.loop.loop import Loop
from fpm.master.pool.process_manager import Census
from fpm.system import systemd

LISTEN_VARIABLES = frozenset({"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"})
MANAGER_VARIABLES = LISTEN_VARIABLES | {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}
"""Said to the master alone; an application that inherits them would speak in its name."""
READY = "Ready to handle connections"
FAILED = "Reload failed, the former configuration serves on"


class Notifier:
    """The master's side of sd_notify(3). Without a service manager it does nothing and sets no timer."""

    def __init__(
        self, loop: Loop, environ: Mapping[str, str], *, interval: float, census: Callable[[], Sequence[Census]]
    ) -> None:
        """
        Args:
            interval: systemd_interval in seconds; 0: no regular status. The watchdog's own interval goes before it.
            census: the workers of each pool.
        """
        self._loop = loop
        self._environ = environ
        self._census = census
        self._watchdog = systemd.watchdog_interval(environ, os.getpid())
        # Half the time that systemd allows (sd_watchdog_enabled(3)).
        self._interval = self._watchdog / 2 if self._watchdog else interval
        self._silent = False

    def take(self, event: Event) -> None:
        """Tell what has happened, if it concerns systemd."""
        if isinstance(event, MasterReady) and not event.is_refused:
            status = f"Failed pools: {', '.join(event.failed)}" if event.failed else READY
            self._send(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")
            self._schedule()
        elif isinstance(event, MasterStopping):
            self._silent = True  # no more regular messages
            self._send(f"STOPPING=1\nSTATUS={'Finishing' if event.graceful else 'Terminating'}")
        elif isinstance(event, ReloadStarted | UpgradeStarted):
            # Type=notify-reload wants the time, too (systemd.service(5)).
            self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        elif isinstance(event, ReloadEnded | UpgradeFailed):
            is_ok = isinstance(event, ReloadEnded) and event.ok
            self._send(f"READY=1\nSTATUS={READY if is_ok else FAILED}")

    def _send(self, state: str) -> None:
        # Every message is a sign of life: an upgrade begins with the whole time of the watchdog, whenever the last
        # regular one was, and so does the program after it.
        systemd.notify(f"WATCHDOG=1\n{state}" if self._watchdog else state, self._environ)

    def _schedule(self) -> None:
        if self._interval and "NOTIFY_SOCKET" in self._environ:
            self._loop.call_later(self._interval, self._tell_status)

    def _tell_status(self) -> None:
        if self._silent:
            return
        census = self._census()
        active, idle = sum(one.active for one in census), sum(one.idle for one in census)
        self._send(f"STATUS=Processes active: {active}, idle: {idle}")
        self._schedule()
