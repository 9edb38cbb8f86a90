"""Manager: starts, watches, reloads and stops the pools of a program."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from signal import Signals
from types import TracebackType
from weakref import WeakSet

from fpm.client.control import fetch_snapshot, follow, read_step
from fpm.errors import ConfigError, ControlError, StartError
from fpm.events.base import Event
from fpm.events.master import MasterOutput
from fpm.manager.child import MasterProcess, ReloadResult, read_result
from fpm.manager.configuration import CONTROL, ConfigurationWriter, Pool, Settings
from fpm.manager.events import EventFeed
from fpm.status.snapshot import Snapshot
from fpm.system.unix_sockets import make_socket_directory

KILL_TIME = 5.0
"""Seconds after a signal in which a master must exit."""
_EARLY = 30.0
"""Seconds that stop() gives requests at the end of a `with` block and of the program, unless the settings say less."""


class Manager:
    """Pools and the process that manages them. Its methods may be called from any thread.

    Args:
        pools: at least one.
        settings: directives of [global].
        on_event: called for each event, by a thread of the manager; it must return soon.
        allow_root: allow pools that run as root.
        name: the configuration's name in the process list.

    Raises:
        ConfigError: lists every error.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        settings: Settings | None = None,
        *,
        on_event: Callable[[Event], None] | None = None,
        allow_root: bool = False,
        name: str = "",
    ) -> None:
        self._pools = list(pools)
        self._settings = settings or Settings()
        self._writer = ConfigurationWriter(
            name or os.path.basename(sys.argv[0]) or "a program", os.getcwd(), allow_root
        )
        self._lock = threading.Lock()
        self._feed = EventFeed(on_event)
        self._process: MasterProcess | None = None
        self._directory = ""
        self.failed: tuple[str, ...] = ()
        """Names of the pools whose application did not start; they answer 503 and are tried again."""
        self._writer.check(self._pools, self._settings)
        _managers.add(self)

    # ---------------------------------------------------------------- beginning and end

    def start(self, timeout: float = 90.0, *, strict: bool = True) -> None:
        """Execute the master, and wait until its pools are ready.

        Args:
            timeout: seconds.
            strict: fail if a pool's application does not start.

        Raises:
            StartError: it cannot start, and has been removed completely.
            ConfigError: an error has appeared since the manager was created.
            RuntimeError: it is already running.
        """
        with self._lock:
            if self._process is not None and self._process.wait(0) is None:
                raise RuntimeError("this manager is already running")
            self._directory = make_socket_directory("pyfpm-manager-")
            try:
                self._writer.write(self._directory, self._pools, self._settings)
                sockets = [(pool.name, pool.socket) for pool in self._pools if pool.socket is not None]
                self._process = process = MasterProcess(self._directory, sockets, self._feed.put, self._feed.close)
            except BaseException as error:
                self._forget_directory()
                if isinstance(error, OSError):
                    raise StartError(f"the manager cannot be executed: {error.strerror}") from error
                raise
        atexit.register(self._at_exit)
        try:
            self.failed = tuple(process.wait_ready(timeout))
            if self.failed and strict:
                raise StartError(f"these pools have failed: {', '.join(self.failed)}")
        except StartError as error:
            self._end(process)
            raise StartError("\n".join([str(error), *_reasons(process)])) from None
        except BaseException:
            self._end(process)
            raise

    def stop(self, *, graceful: bool = True, timeout: float | None = None) -> int:
        """Stop the master and wait until it has exited.

        Args:
            graceful: let current requests finish, up to process_control_timeout.
            timeout: seconds after which it is stopped at once; None: as long as its own limits allow.

        Returns:
            Its exit status; if it is not running that of its last run, 0 if there was none.
        """
        process = self._process
        if process is None:
            return 0
        process.send_signal(Signals.SIGQUIT if graceful else Signals.SIGTERM)
        status = process.wait(timeout)
        if status is None:
            return self._end(process)
        self._after_end()
        return status

    def begin_stop(self, *, graceful: bool = True) -> None:
        """Signal the master to stop, without waiting; for signal handlers.

        It may be called while start() waits, which then raises StartError.
        """
        process = self._process
        if process is not None:
            process.send_signal(Signals.SIGQUIT if graceful else Signals.SIGTERM)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until the master has exited for any reason.

        Returns:
            Its exit status, negative for a signal; None if it still runs after `timeout` seconds.
        """
        process = self._process
        status = 0 if process is None else process.wait(timeout)
        if status is not None and process is not None:
            self._after_end()
        return status

    @property
    def is_running(self) -> bool:
        """Tell whether it has been started and has not exited."""
        return self._process is not None and self._process.wait(0) is None

    @property
    def pid(self) -> int:
        """Return the master's pid; 0 if it is not running."""
        process = self._process
        return process.pid if process is not None and process.wait(0) is None else 0

    @property
    def control(self) -> str:
        """Return the path of the control socket, for `pyfpm`'s own protocol; "" if it is not running."""
        return os.path.join(self._directory, CONTROL) if self.is_running else ""

    def __enter__(self) -> Manager:
        if not self.is_running:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop(timeout=_EARLY)

    # ---------------------------------------------------------------- watching

    def status(self, pool: str | None = None, *, workers: bool = True) -> Snapshot:
        """Return the current state of the daemon, of its pools (or this one) and of their workers.

        It answers also while all workers are busy.

        Raises:
            ControlError: it is not running, or there is no such pool.
        """
        return fetch_snapshot(self._running_control(), pool, workers=workers)

    def events(self) -> Iterator[Event]:
        """Yield everything that happens from now on until the master exits; see fpm.events for the classes."""
        with self._lock:
            return self._feed.listen() if self.is_running else iter(())

    def recent(self) -> list[Event]:
        """Return the last events, at most a thousand, oldest first."""
        return list(self._process.recent) if self._process is not None else []

    # ---------------------------------------------------------------- reload

    def reload(
        self,
        names: Sequence[str] = (),
        *,
        changed: bool = False,
        pools: Sequence[Pool] | None = None,
        settings: Settings | None = None,
        timeout: float = 0.0,
    ) -> ReloadResult:
        """Check new generations and swap them in, of all pools without names.

        Args:
            names: pools that get a new generation in any case; others only where their configuration differs.
            changed: only pools whose configuration, directory or interpreter differ.
            pools, settings: the new configuration; by default the current one.
            timeout: seconds for the check; 0.0: only startup_timeout applies.

        Returns:
            The result. After a refusal the current configuration stays.

        Raises:
            ConfigError: the new configuration is wrong; nothing has changed.
            ControlError: it is not running.
        """
        new_pools = self._pools if pools is None else list(pools)
        new_settings = self._settings if settings is None else settings
        _refuse_late_sockets(self._pools, new_pools)
        self._writer.check(new_pools, new_settings)
        control = self._running_control()
        self._writer.write(self._directory, new_pools, new_settings)
        request = {"command": "reload", "pools": list(names), "changed": changed, "timeout": timeout}
        steps: list[str] = []
        answer = follow(control, request, lambda message: steps.extend(read_step(message).splitlines()))
        outcome = read_result(answer, steps)
        if outcome.ok:
            self._pools, self._settings = new_pools, new_settings
        else:
            self._writer.write(self._directory, self._pools, self._settings)
        return outcome

    # ---------------------------------------------------------------- details

    def _running_control(self) -> str:
        control = self.control
        if not control:
            raise ControlError("this manager is not running")
        return control

    def _end(self, process: MasterProcess) -> int:
        """Stop it at once, by SIGKILL if necessary."""
        process.send_signal(Signals.SIGTERM)
        status = process.wait(2 * KILL_TIME)
        if status is None:
            process.send_signal(Signals.SIGKILL)
            status = process.wait(KILL_TIME)
        self._after_end()
        return status if status is not None else -Signals.SIGKILL

    def _after_end(self) -> None:
        atexit.unregister(self._at_exit)
        self._forget_directory()

    def _detach(self) -> None:
        """Forget the master, in a process that the program has forked: there it is not running."""
        self._lock = threading.Lock()
        self._feed = EventFeed(None)
        process, self._process = self._process, None
        if process is not None:
            atexit.unregister(self._at_exit)
            process.detach()

    def _at_exit(self) -> None:
        self.stop(graceful=False, timeout=2 * KILL_TIME)

    def _forget_directory(self) -> None:
        """Remove the directory, which a killed master has left."""
        shutil.rmtree(self._directory, ignore_errors=True)


def _refuse_late_sockets(present: Sequence[Pool], new: Sequence[Pool]) -> None:
    names = {pool.name for pool in present if pool.socket is not None}
    late = [pool.name for pool in new if pool.socket is not None and pool.name not in names]
    if late:
        raise ConfigError([f"Pool({name!r}, listen=...): a socket can be given at the start only." for name in late])


def _reasons(process: MasterProcess) -> list[str]:
    """Return what the events say about a failed start."""
    found = [one for one in process.recent if one.level in ("ERROR", "ALERT") or isinstance(one, MasterOutput)]
    return [line for event in found for line in event.text.splitlines()][-20:]


_managers: WeakSet[Manager] = WeakSet()


def _after_fork() -> None:
    """Detach all managers in a process that the program has forked."""
    for manager in list(_managers):
        manager._detach()


os.register_at_fork(after_in_child=_after_fork)
