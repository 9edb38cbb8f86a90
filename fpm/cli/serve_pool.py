"""The pool behind `pyfpm serve`: a manager (fpm.manager) with one pool, which runs the application as this user."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fpm.cli.serve_django import FILE, NAME, hide_wrapper, wrapper_text
from fpm.cli.serve_failure import lacks_module
from fpm.cli.serve_lines import print_line, print_raw
from fpm.config.model import UnixAddress
from fpm.discover.environments import find_venvs
from fpm.discover.project import NoApplication, Project
from fpm.errors import EXIT_FAILED, ConfigError, ControlError, FpmError, StartError
from fpm.events.base import Event
from fpm.events.master import MasterOutput, ReloadEnded
from fpm.events.pool import PoolFailed, PoolRecovered
from fpm.events.worker import ProcessOutput
from fpm.manager import Manager, Pool, Settings
from fpm.manager.console import write_line
from fpm.system.own_command import own_python
from fpm.system.unix_sockets import make_socket_directory

POOL = "serve"
STARTUP_TIMEOUT = 60
CONTROL_TIMEOUT = 3
"""Seconds for current requests: Ctrl-C must not wait long for an application that is busy."""
STOP_TIMEOUT = 10.0
LINE_LIMIT = 65536
"""Bytes of a line of the application: a terminal wraps it by itself."""
EVENT_TIME = 5.0
"""Seconds after the start in which the reason of a failure, which comes another way, has arrived."""
PATIENCE = (2.0, 10.0)
"""Seconds after which an import is said to take long, and between two such lines."""


class ServeError(FpmError):
    """`pyfpm serve` cannot start, or its pool has exited."""

    exit_status = EXIT_FAILED


class ServedPool:
    """A pool that serves its application.

    Attributes:
        address: of its socket.
        failure: why the application cannot be imported, a traceback; None while it serves.
    """

    def __init__(self, project: Project, directory: str, workers: int) -> None:
        self.address = UnixAddress(os.path.join(directory, "socket"))
        self.failure: str | None = None
        self._has_told = threading.Event()
        self._project = project
        self._wrapper = os.path.join(directory, FILE)
        app = project.app
        if project.framework == "django" and ".py:" not in app and not app.endswith("()"):
            Path(self._wrapper).write_text(wrapper_text(app))
            app = f"{self._wrapper}:{NAME}"
        pool = Pool(POOL, app=app, listen=self.address.path, **pool_directives(project, workers))
        settings = Settings(log_level="warning", log_limit=LINE_LIMIT, process_control_timeout=CONTROL_TIMEOUT)
        try:
            self.manager = Manager(
                [pool], settings, on_event=self._show, allow_root=os.geteuid() == 0, name=project.app
            )
        except ConfigError as error:
            sentence = str(error).replace(f"Pool({POOL!r}, ", "").replace("=...): ", ": ")
            raise ServeError(self._readable(sentence)) from None

    def start(self, *, stays: bool) -> None:
        """Start it; with `stays` also if the application cannot be imported: then `failure` says why.

        Raises:
            NoApplication: there is no such module.
            ServeError: it does not start, or the application cannot be imported and `stays` is false.
        """
        app = self._project.app
        try:
            with _patience(app):
                self.manager.start(STARTUP_TIMEOUT + 15, strict=False)
        except (ConfigError, StartError) as error:
            raise ServeError(f"the pool cannot start: {self._readable(str(error))}") from None
        if not self.manager.failed:
            return
        self._has_told.wait(EVENT_TIME)
        if lacks_module(app, self.failure or ""):
            module, directory = app.partition(":")[0], self._project.directory
            raise NoApplication(f"there is no module {module}, neither in {directory} nor installed")
        if not stays:
            raise ServeError(f"{app} cannot be imported; see the reason above")

    def stop(self) -> None:
        """Stop it at once."""
        self.manager.stop(graceful=False, timeout=STOP_TIMEOUT)

    def reload(self, changed: list[str]) -> None:
        """Import the application anew; the old code serves until that has worked, and if it does not."""
        print_line(f"{self._name(changed)} changed, reloading")
        try:
            with _patience(self._project.app):
                outcome = self.manager.reload([POOL])
        except (ConfigError, ControlError) as error:
            if self.manager.is_running:
                print_line(f"reload failed, nothing has changed: {self._readable(str(error))}")
            return
        if outcome.ok:
            self.failure = None
            print_line("reloaded")
            return
        text = self._readable(outcome.traceback or "\n".join(outcome.complaints))
        print_raw(text)
        if self.failure is None:
            print_line("reload failed, the old code serves; save a correction to try again")
        else:
            self.failure = text
            print_line(f"{self._project.app} still cannot be imported; waiting for a change ...")

    def _name(self, changed: list[str]) -> str:
        """Return the first of the changed files, and how many more there are."""
        first = os.path.relpath(changed[0], self._project.directory)
        return f"{first} and {len(changed) - 1} more" if len(changed) > 1 else first

    def _show(self, event: Event) -> None:
        """Show what the application prints, as it is, and problems; the master tries again, so say each once."""
        if isinstance(event, MasterOutput | ProcessOutput):
            write_line(event.text)
        elif isinstance(event, PoolFailed):
            before, self.failure = self.failure, self._readable(event.traceback or event.error)
            if self.failure != before:
                print_raw(self._readable(event.error) if event.traceback_logged else self.failure)
            self._has_told.set()
        elif isinstance(event, PoolRecovered) and self.failure is not None:
            self.failure = None
            print_line(f"{self._project.app} is served now")
        elif event.is_problem and not isinstance(event, ReloadEnded):
            first, newline, rest = self._readable(event.text).partition("\n")
            print_line(f"{event.level}: {first}")
            if newline:
                print_raw(rest)

    def _readable(self, text: str) -> str:
        """Return a text that speaks of the application, not of our file in a temporary directory."""
        return hide_wrapper(text, self._wrapper, self._project.app)


def pool_directives(project: Project, workers: int) -> dict[str, Any]:
    """Choose directives by the calling user's interpreter, directory and environment."""
    directives: dict[str, Any] = {
        "chdir": project.directory,
        "python": served_python(project.directory),
        "clear_env": False,
        "pm": "dynamic",
        "pm_max_children": workers,
        "pm_start_servers": 1,
        "pm_min_spare_servers": 1,
        "pm_max_spare_servers": min(2, workers),
        "startup_timeout": STARTUP_TIMEOUT,
        "decorate_workers_output": False,
    }
    if os.geteuid() == 0:
        directives["user"] = "root"
    if os.environ.get("PYTHONPATH"):
        directives["pythonpath"] = os.environ["PYTHONPATH"]
    return directives


def served_python(directory: str) -> str:
    """Return the interpreter of the active virtual environment, else of the project's, else the one that runs pyfpm.

    Args:
        directory: of the project.
    """
    active = os.environ.get("VIRTUAL_ENV", "")
    venv = active if active else next(find_venvs(directory, {}), "")
    python = os.path.join(venv, "bin", "python")
    return python if venv and venv != sys.prefix and os.access(python, os.X_OK) else own_python()


@contextmanager
def served_pool(project: Project, workers: int) -> Iterator[ServedPool]:
    """Make the pool, which start() starts; at the end of the context it is stopped and nothing is left behind.

    Raises:
        ServeError: the configuration is wrong.
    """
    directory = make_socket_directory("pyfpm-serve-")
    try:
        pool = ServedPool(project, directory, workers)
        try:
            yield pool
        finally:
            pool.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _patience(app: str) -> Iterator[None]:
    """Print a line now and then while an import takes its time."""
    is_over = threading.Event()

    def wait() -> None:
        first, interval = PATIENCE
        seconds = first
        while not is_over.wait(interval if seconds > first else first):
            print_line(f"importing {app} ... {seconds:g} s")
            seconds += interval

    thread = threading.Thread(target=wait, name="patience", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
