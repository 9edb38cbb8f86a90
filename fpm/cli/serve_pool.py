"""The pool behind `pyfpm serve`: a manager (fpm.manager) with one pool, which runs the application as this user."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fpm.config.model import UnixAddress
from fpm.errors import EXIT_FAILED, ConfigError, FpmError, StartError
from fpm.frozen import dataclass
from fpm.manager import Manager, Pool, Settings
from fpm.manager.console import show_event
from fpm.system.own_command import own_python
from fpm.system.unix_sockets import make_socket_directory

POOL = "serve"
STARTUP_TIMEOUT = 60
CONTROL_TIMEOUT = 3
"""Seconds for current requests: Ctrl-C must not wait long for an application that is busy."""
STOP_TIMEOUT = 10.0


class ServeError(FpmError):
    """`pyfpm serve` cannot start, or its pool has exited."""

    exit_status = EXIT_FAILED


@dataclass(frozen=True, slots=True)
class ServedPool:
    """A pool that serves its application."""

    manager: Manager
    address: UnixAddress


def pool_directives(workers: int) -> dict[str, Any]:
    """Choose directives by the calling user's interpreter, directory and environment."""
    directives: dict[str, Any] = {
        "chdir": os.getcwd(),
        "python": own_python(),
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


@contextmanager
def served_pool(app: str, workers: int) -> Iterator[ServedPool]:
    """Run the pool; at the end of the context it is stopped and nothing is left behind.

    Raises:
        ServeError: it does not start, or the application cannot be imported (its traceback is on standard error).
    """
    directory = make_socket_directory("pyfpm-serve-")
    try:
        address = UnixAddress(os.path.join(directory, "socket"))
        manager = _start(app, address, workers)
        try:
            yield ServedPool(manager, address)
        finally:
            manager.stop(graceful=False, timeout=STOP_TIMEOUT)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _start(app: str, address: UnixAddress, workers: int) -> Manager:
    pool = Pool(POOL, app=app, listen=address.path, **pool_directives(workers))
    settings = Settings(log_level="warning", process_control_timeout=CONTROL_TIMEOUT)
    try:
        manager = Manager([pool], settings, on_event=show_event, allow_root=os.geteuid() == 0, name=app)
        manager.start(STARTUP_TIMEOUT + 15, strict=False)
    except (ConfigError, StartError) as error:
        raise ServeError(f"the pool cannot start: {error}") from None
    if manager.failed:
        manager.stop(graceful=False, timeout=STOP_TIMEOUT)
        raise ServeError(f"{app} cannot be imported; see the reason above")
    return manager
