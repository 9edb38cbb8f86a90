"""How a master is started, and what its parts work with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fpm.config.model import Config, GlobalConfig
from fpm.frozen import dataclass
from fpm.log.error import ErrorLog
from fpm.master.core import EventSink, EventWriter
from fpm.master.loop.loop import Loop
from fpm.master.notifier import MANAGER_VARIABLES
from fpm.master.processes.bundle import pack_bundle, sealed_memfd
from fpm.master.processes.oom import OomWatch
from fpm.master.processes.process import apply_limits, become_subreaper, keep_descriptors
from fpm.master.services import Budget, Services
from fpm.system.heap import give_back_free_memory
from fpm.system.listen_queue import ListenQueueReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How a master is started.

    Attributes:
        environ: the environment that env[X] = $Y and clear_env = no speak of.
        load: reads the configuration anew for a reload; raises ConfigError.
        on_ready: called once when every pool serves or has failed, with the names of the failed ones.
        strict: exit again if a pool fails at the start.
        arguments: those with which an upgrade executes the installed program.
        handed: what the program before an upgrade has handed over, see fpm.master.upgrade.handover.
        parent_fd: a descriptor that reads end of file when whoever has started this master is gone; then it stops.
        events: writes what happens for the program that embeds the master, in the place of the error log.
    """

    environ: Mapping[str, str]
    load: Callable[[], Config]
    on_ready: Callable[[list[str]], None]
    strict: bool = False
    arguments: Sequence[str] = ()
    handed: dict[str, Any] | None = None
    parent_fd: int | None = None
    events: EventWriter | None = None


def prepare_process(setup: Setup, settings: GlobalConfig) -> tuple[int, int]:
    """Make this process fit to be a master.

    Returns:
        RLIMIT_NOFILE (soft, hard) for pools without their own: that of [global], or that with which the daemon was
        started; an upgrade is no start.

    Raises:
        StartError: a limit of [global] is not permitted.
    """
    keep_descriptors()
    limits = apply_limits(settings)
    become_subreaper()
    if setup.handed is None or settings.rlimit_files:
        return limits
    soft, hard = setup.handed["rlimit_files"]
    return soft, hard


def make_services(
    setup: Setup, settings: GlobalConfig, loop: Loop, log: ErrorLog, sink: EventSink, original_limits: tuple[int, int]
) -> Services:
    """Make what all pools share."""
    bundle_fd = sealed_memfd("pyfpm-bundle", pack_bundle())
    give_back_free_memory()  # of the bundle's making, and of the configuration's reading: 4 MB
    return Services(
        loop=loop,
        log=log,
        sink=sink,
        settings=settings,
        bundle_fd=bundle_fd,
        environ={name: value for name, value in setup.environ.items() if name not in MANAGER_VARIABLES},
        original_rlimit_files=original_limits,
        queues=ListenQueueReader(),
        budget=Budget(settings.process_max),
        reapers={},
        clock=time.time,
        oom=OomWatch(),
    )
